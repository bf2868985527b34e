package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
)

// TestNamespaces compares every namespace inside with the one outside.
func TestNamespaces(t *testing.T) {
	p := with(t, defaults(t), "unshare", "time")
	inside := output(t, p, "sh", "-c", "for n in user mnt pid net ipc uts cgroup time; do echo $n $(readlink /proc/self/ns/$n); done")
	for line := range strings.Lines(inside) {
		name, got, _ := strings.Cut(strings.TrimSpace(line), " ")
		outside, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got == outside || !strings.HasPrefix(got, name+":") {
			t.Errorf("%s: %s inside, %s outside", name, got, outside)
		}
	}
}

// TestShared: what a policy shares is the caller's own.
func TestShared(t *testing.T) {
	p := with(t, defaults(t), "net", "host", "share", "uts", "share", "ipc", "hostname", "")
	p.Hostname = ""
	for _, name := range []string{"net", "uts", "ipc"} {
		outside, _ := os.Readlink("/proc/self/ns/" + name)
		if got := output(t, p, "readlink", "/proc/self/ns/"+name); strings.TrimSpace(got) != outside {
			t.Errorf("%s: %s inside, %s outside", name, got, outside)
		}
	}
}

// TestFreshProc: processes from before are not seen.
func TestFreshProc(t *testing.T) {
	got := output(t, defaults(t), "sh", "-c", "echo /proc/[0-9]*; cat /proc/1/comm")
	if n := len(strings.Fields(strings.Split(got, "\n")[0])); n > 4 {
		t.Errorf("%d processes: %s", n, got)
	}
	if !strings.Contains(got, "cloche") {
		t.Errorf("pid 1 is %q", got)
	}
}

// TestOldRootGone: nothing lies above the root, and no mount of the host is left
// but what the policy shows.
func TestOldRootGone(t *testing.T) {
	got := output(t, defaults(t), "sh", "-c", "ls -a /..; echo --; cut -d' ' -f5 /proc/self/mountinfo")
	listing, mounts, _ := strings.Cut(got, "--\n")
	for _, secret := range []string{"root", "boot", "home"} {
		for line := range strings.Lines(listing) {
			if strings.TrimSpace(line) == secret {
				t.Errorf("/.. shows %s:\n%s", secret, listing)
			}
		}
	}
	for line := range strings.Lines(mounts) {
		m := strings.TrimSpace(line)
		if strings.HasPrefix(m, "/sys") || strings.HasPrefix(m, "/boot") || strings.HasPrefix(m, "/home") {
			t.Errorf("mount %s is left", m)
		}
	}
}

// TestReadOnly: what is shown to be read can't be written, by any user.
func TestReadOnly(t *testing.T) {
	got := output(t, defaults(t), "sh", "-c", "for f in /usr/x /etc/x /x ./x /proc/sys/kernel/core_pattern /dev/x; do (echo >$f) 2>/dev/null && echo wrote $f; done; echo >/tmp/x && echo >/dev/shm/x && echo ok")
	if got != "ok\n" {
		t.Errorf("got %q", got)
	}
}

// TestWrite: a writable directory is the host's own, and what is mounted inside
// is not seen outside.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	p := with(t, defaults(t), "write", dir, "tmpfs", filepath.Join(dir, "private"))
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, p, "sh", "-c", "echo 1 >"+dir+"/made; echo 2 >"+dir+"/private/secret")
	if b, err := os.ReadFile(filepath.Join(dir, "made")); err != nil || string(b) != "1\n" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "private", "secret")); err == nil {
		t.Error("a file of a tmpfs inside is seen outside")
	}
}

// TestHide: a hidden file and a hidden directory can't be read nor replaced.
func TestHide(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "key"), []byte("secret"), 0o644)
	os.MkdirAll(filepath.Join(dir, "keys", "deep"), 0o755)
	p := with(t, defaults(t), "write", dir, "hide", filepath.Join(dir, "key"), "hide", filepath.Join(dir, "keys"))
	got := output(t, p, "sh", "-c", "cd "+dir+"; cat key 2>&1; ls keys 2>&1; rm -rf key keys 2>/dev/null; mv keys other 2>/dev/null; chmod 777 key keys 2>/dev/null; cat key 2>&1; ls keys 2>&1; true")
	if strings.Contains(got, "secret") || strings.Contains(got, "deep") {
		t.Errorf("got %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "key")); err != nil || string(b) != "secret" {
		t.Errorf("outside: %q, %v", b, err)
	}
}

// TestHideWhatIsNotThere: a name that does not exist can't be protected in a
// writable tree without touching the host, so it is refused.
func TestHideWhatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	p := with(t, defaults(t), "write", dir, "hide", filepath.Join(dir, "later"))
	c := command(t, p, "true")
	if err := c.Run(); err == nil || !strings.Contains(err.Error(), "does not exist yet") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "later")); err == nil {
		t.Error("a stub was left on the host")
	}
}

// TestOverlay: changes to an overlay stay inside, or go to the upper directory.
func TestOverlay(t *testing.T) {
	dir, upper := t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o644)
	p := with(t, defaults(t), "overlay", dir)
	if got := output(t, p, "sh", "-c", "cd "+dir+"; cat a; echo new >a; echo x >b; cat a b"); got != "oldnew\nx\n" {
		t.Errorf("got %q", got)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "a")); string(b) != "old" {
		t.Errorf("outside: %q", b)
	}
	os.Mkdir(filepath.Join(upper, "up"), 0o755)
	os.Mkdir(filepath.Join(upper, "up.work"), 0o755)
	p = with(t, defaults(t), "overlay", dir+":upper="+filepath.Join(upper, "up"))
	output(t, p, "sh", "-c", "echo new >"+dir+"/a")
	if b, err := os.ReadFile(filepath.Join(upper, "up", "a")); err != nil || string(b) != "new\n" {
		t.Errorf("upper: %q, %v", b, err)
	}
}

// TestFileAndSymlink: content that the policy itself gives.
func TestFileAndSymlink(t *testing.T) {
	p := defaults(t)
	p.Mounts = append(p.Mounts,
		policy.Mount{Kind: policy.File, Path: "/etc/hostname", Data: "glass\n"},
		policy.Mount{Kind: policy.File, Path: "/opt2/deep/file", Data: "x"},
		policy.Mount{Kind: policy.Symlink, Path: "/link", Source: "/opt2/deep"})
	if _, err := os.Stat("/etc/hostname"); err != nil {
		needs.Skip(t, "no /etc/hostname to cover: "+err.Error())
	}
	if got := output(t, p, "sh", "-c", "cat /etc/hostname /link/file"); got != "glass\nx" {
		t.Errorf("got %q", got)
	}
}

// TestCredentials: all five capability sets, no_new_privs, the filter, the ids.
func TestCredentials(t *testing.T) {
	got := output(t, defaults(t), "cat", "/proc/self/status")
	for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := output(t, with(t, defaults(t), "map-root", ""), "id", "-u"); got != "0\n" {
		t.Errorf("mapped root: %q", got)
	}
	if got := output(t, with(t, defaults(t), "user", "1234:567"), "sh", "-c", "id -u; id -g"); got != "1234\n567\n" {
		t.Errorf("single id: %q", got)
	}
	kept := output(t, with(t, defaults(t), "map-root", "", "cap-add", "CAP_NET_BIND_SERVICE"), "grep", "Cap", "/proc/self/status")
	if strings.Count(kept, "0000000000000400") != 5 {
		t.Errorf("one kept capability:\n%s", kept)
	}
}

// TestDescriptors: nothing but 0, 1 and 2 crosses exec.
func TestDescriptors(t *testing.T) {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := output(t, defaults(t), "sh", "-c", "echo /proc/self/fd/*"); got != "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2\n" && got != "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n" {
		t.Errorf("got %q", got)
	}
}

// TestNetwork: none has not even loopback, private has.
func TestNetwork(t *testing.T) {
	if got := output(t, defaults(t), "sh", "-c", "cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /proc/net/route /proc/net/fib_trie 2>/dev/null | grep -c 127 || true"); !strings.Contains(got, "lo") || strings.Contains(got, "eth") {
		t.Errorf("none: %q", got)
	}
	needs.Programs(t, "python3")
	script := "import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); print('up')"
	if got := output(t, with(t, defaults(t), "net", "private"), "/usr/bin/python3", "-c", script); got != "up\n" {
		t.Errorf("private: %q", got)
	}
	c := command(t, defaults(t), "/usr/bin/python3", "-c", script)
	if out, err := c.CombinedOutput(); err == nil {
		t.Errorf("none lets loopback connect: %q", out)
	}
}
