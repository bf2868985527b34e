package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// TestRanges: the ids of /etc/subuid and /etc/subgid are mapped behind the caller's own.
func TestRanges(t *testing.T) {
	r, err := host.SubIDs()
	if err != nil && os.Geteuid() == 0 && os.Getenv("CLOCHE_TEST_RANGES") == "" {
		rangesOfTheTest(t)
		return
	}
	if err != nil {
		needs.Root(t, "an ordinary user needs ranges of subordinate ids: "+err.Error())
		needs.Skip(t, "needs ranges of subordinate ids: "+err.Error())
	}
	got := output(t, with(t, defaults(t), "user", "ranges"), "cat", "/proc/self/uid_map")
	if lines := strings.Split(strings.TrimSpace(got), "\n"); len(lines) < 2 || !strings.Contains(got, strconv.FormatUint(uint64(r.UID[0].First), 10)) {
		t.Errorf("uid_map is %q, without the range of %+v", got, r.UID)
	}
}

// rangesOfTheTest runs TestRanges once more where root has ranges: files of the
// test's lie over /etc/subuid and /etc/subgid, in a mount namespace of its own.
func rangesOfTheTest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ranges")
	if err := os.WriteFile(file, []byte("root:1000000:65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid && exec /proc/self/fd/3 -test.v -test.run '^TestRanges$'`, "sh", file)
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = append(os.Environ(), "CLOCHE_TEST_RANGES=1")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && strings.Contains(string(out), "--- PASS: TestRanges"):
	case strings.Contains(string(out), "--- SKIP: TestRanges"), strings.Contains(string(out), "mount:"):
		needs.Skip(t, fmt.Sprintf("needs /etc/subuid and /etc/subgid, and newuidmap: %s", out))
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}

// TestProcOptions: subset and hidepid, seen from inside.
func TestProcOptions(t *testing.T) {
	p := defaults(t)
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Kind == policy.Proc {
			m.Subset, m.Hidepid = "pid", "invisible"
		}
	}
	got := output(t, p, "sh", "-c", "grep ' /proc ' /proc/self/mountinfo; ls -d /proc/[0-9]* /proc/self /proc/meminfo /proc/sys 2>/dev/null; true")
	for _, want := range []string{"hidepid=invisible", "subset=pid", "/proc/self\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	for _, hidden := range []string{"/proc/meminfo", "/proc/sys"} {
		if strings.Contains(got, hidden) {
			t.Errorf("%s is there: %s", hidden, got)
		}
	}
	// Nobody may trace pid 1. The group that may see it all the same is root's.
	if os.Getegid() != 0 && strings.Contains(got, "/proc/1\n") {
		t.Errorf("pid 1 is seen: %s", got)
	}
}

func init() {
	helpers["session keyring"] = func() {
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		fmt.Println(id, err)
	}
}

// TestKeyring: with keyring = true the command has a session keyring of its own.
func TestKeyring(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	id := func(own bool) string {
		p := with(t, defaults(t), "read", exe, "seccomp", "none", "env", role+"=session keyring")
		p.Keyring = own
		return strings.TrimSpace(output(t, p, exe))
	}
	shared, own, other := id(false), id(true), id(true)
	if !strings.HasSuffix(own, "<nil>") || own == shared || own == other {
		t.Errorf("keyrings: shared %q, its own %q and %q", shared, own, other)
	}
}

// TestForeignCalls: system calls of another ABI than the filter's end the command.
func TestForeignCalls(t *testing.T) {
	needs.Arch(t, "amd64 alone has other ABIs that a program of its own can call", "amd64")
	exit := "\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05" // exit(0)
	for _, c := range []struct {
		name, code, option string
		killed             bool
	}{
		{"amd64", "\xb8\x27\x00\x00\x00\x0f\x05", "64BIT", false},
		{"x32", "\xb8\x27\x00\x00\x40\x0f\x05", "X86_X32_ABI", true},
		{"i386", "\xb8\x14\x00\x00\x00\xcd\x80", "IA32_EMULATION", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			prog := filepath.Join(t.TempDir(), "prog")
			if err := os.WriteFile(prog, host.StaticELF([]byte(c.code+exit)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := command(t, with(t, defaults(t), "read", prog, "seccomp", "none"), prog).Run(); err != nil {
				needs.Kernel(t, fmt.Sprintf("this kernel has no calls of %s (CONFIG_%s): %v", c.name, c.option, err), "", c.option)
			}
			cmd := command(t, with(t, defaults(t), "read", prog), prog)
			err := cmd.Run()
			r := cmd.Result()
			if killed := r != nil && r.Reason == sandbox.Syscall; killed != c.killed {
				t.Errorf("%v, %+v; want killed %v", err, r, c.killed)
			}
		})
	}
}

// TestRlimitEffect: a resource limit is what the command has, soft and hard, and it holds.
func TestRlimitEffect(t *testing.T) {
	p := with(t, defaults(t), "rlimit", "nofile=32:64", "rlimit", "fsize=4096")
	if got := output(t, p, "sh", "-c", "ulimit -S -n; ulimit -H -n; ulimit -H -n 65 2>/dev/null && echo raised; true"); got != "32\n64\n" {
		t.Errorf("%q", got)
	}
	got := output(t, p, "sh", "-c", "exec 2>/dev/null; (head -c 9999 /dev/zero > /tmp/f); echo $?; wc -c < /tmp/f")
	if want := strconv.Itoa(128+int(syscall.SIGXFSZ)) + "\n4096\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCapDrop: what is dropped is in no set, and what is left is in all.
func TestCapDrop(t *testing.T) {
	got := output(t, with(t, defaults(t), "map-root", "", "cap-add", "chown", "cap-add", "net_raw", "cap-drop", "net_raw"), "grep", "^Cap", "/proc/self/status")
	if n := strings.Count(got, "\t0000000000000001\n"); n != 5 {
		t.Errorf("%d of five sets are CAP_CHOWN alone:\n%s", n, got)
	}
}

// TestSharePid: the host's processes are seen, and the command ends with the sandbox.
func TestSharePid(t *testing.T) {
	p := with(t, defaults(t), "share", "pid", "read", "/proc")
	outside, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	got := output(t, p, "sh", "-c", "readlink /proc/self/ns/pid; cat /proc/"+strconv.Itoa(os.Getpid())+"/comm")
	comm, _ := os.ReadFile("/proc/self/comm")
	if want := outside + "\n" + string(comm); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestProcessors: a cpuset and a share of a processor hold.
func TestProcessors(t *testing.T) {
	p := limited(t, defaults(t), "cpuset", "0")
	if got := output(t, p, "grep", "^Cpus_allowed_list", "/proc/self/status"); !strings.HasSuffix(got, "\t0\n") {
		t.Errorf("%q", got)
	}
	cmd := command(t, limited(t, defaults(t), "cpus", "0.2", "wall-time", "1s"), "sh", "-c", "while :; do :; done")
	_ = cmd.Run()
	r := cmd.Result()
	if r == nil || r.Reason != sandbox.WallTime {
		t.Fatalf("%+v", r)
	}
	if used := r.UserTime + r.SystemTime; used > 500*time.Millisecond || used < 20*time.Millisecond {
		t.Errorf("a fifth of a processor was %v of a second", used)
	}
}
