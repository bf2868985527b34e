package overlay_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// upper is where the sandbox's changes are. A test that writes there does what the sandbox could
// do, or more.
func (b *bench) upper() string { return filepath.Join(b.state, "cloche/overlays/box/0/upper") }

// swapper exchanges two names over and over, until the test ends or stop is called.
func swapper(t *testing.T, x, y string) (stop func()) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, x, unix.AT_FDCWD, y, unix.RENAME_EXCHANGE)
			}
		}
	}()
	var stopped bool
	stop = func() {
		if !stopped {
			stopped = true
			close(quit)
			<-done
		}
	}
	t.Cleanup(stop)
	return stop
}

// eventually tries something for some seconds, until it has happened.
func eventually(try func() bool) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if try() {
			return true
		}
	}
	return false
}

// TestParentSwappedInDirectory: a directory that changes places with a link to elsewhere
// while changes are brought over. Who writes by path lands there; Apply never does.
func TestParentSwappedInDirectory(t *testing.T) {
	b := newBench(t, files{"sub/f": "0"})
	outside := t.TempDir()
	b.run("echo 1 >sub/f; echo 1 >sub/new")
	if err := os.Symlink(outside, b.dir+"/evil"); err != nil {
		t.Fatal(err)
	}
	stop := swapper(t, b.dir+"/sub", b.dir+"/evil")
	landed := func() bool {
		left, err := os.ReadDir(outside)
		return err == nil && len(left) > 0
	}
	if !eventually(func() bool {
		_ = os.WriteFile(b.dir+"/sub/by-path", nil, 0o644)
		return landed()
	}) {
		t.Error("who writes by path never landed outside: the attack is none")
	}
	_ = os.Remove(outside + "/by-path")
	for i, end := 0, time.Now().Add(2*time.Second); time.Now().Before(end); i++ {
		// Each time there is something to bring over.
		for _, name := range []string{"f", "new"} {
			if err := os.WriteFile(b.upper()+"/sub/"+name, []byte(strconv.Itoa(i)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b.applyOrError()
		if landed() {
			t.Fatal("a change landed outside of the directory")
		}
	}
	stop()
}

// applyOrError is apply while an attack may make it fail as a whole.
func (b *bench) applyOrError() (done, refused []string, err error) {
	b.Helper()
	s := b.store()
	defer s.Close()
	did, not, err := s.Apply(s.Layers[0], func(string) bool { return true }, false)
	return lines(did), lines(not), err
}

// TestSwappedInUpper: what the sandbox swaps for links to a secret while it is read is never
// brought over. Who reads by path brings the secret.
func TestSwappedInUpper(t *testing.T) {
	b := newBench(t, files{"sub/f": "0", "g": "0"})
	outside := t.TempDir()
	b.write(outside, files{"f": "SECRET"})
	b.run("echo 1 >sub/f; echo 1 >g")
	for link, to := range map[string]string{"evil": outside, "evilfile": outside + "/f"} {
		if err := os.Symlink(to, filepath.Join(b.upper(), "..", link)); err != nil {
			t.Fatal(err)
		}
	}
	up := b.upper()
	stops := []func(){swapper(t, up+"/sub", up+"/../evil"), swapper(t, up+"/g", up+"/../evilfile")}
	for _, name := range []string{"/sub/f", "/g"} {
		if !eventually(func() bool {
			text, err := os.ReadFile(up + name)
			return err == nil && string(text) == "SECRET"
		}) {
			t.Errorf("who reads %s by path never got the secret: the attack is none", name)
		}
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		_, _, _ = b.applyOrError()
		if all := tree(t, b.dir); strings.Contains(all, "SECRET") {
			t.Fatalf("the secret was brought over:\n%s", all)
		}
	}
	for _, stop := range stops {
		stop()
	}
}

// TestReplacedMeanwhile: somebody replaces a file over and over while Apply wants to. What
// they put there last is there in the end.
func TestReplacedMeanwhile(t *testing.T) {
	b := newBench(t, files{"f": "start"})
	b.run("echo ours >f")
	replace := func(i int) {
		if os.WriteFile(b.dir+"/theirs", []byte("theirs "+strconv.Itoa(i)), 0o644) != nil || os.Rename(b.dir+"/theirs", b.dir+"/f") != nil {
			t.Error("can't replace f")
		}
	}
	replace(0)
	for round := range 3 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 60 {
				replace(round*1000 + i)
			}
		}()
		for over := false; !over; {
			did, _, err := b.applyOrError()
			if err != nil || len(did) > 0 {
				t.Fatalf("done: %q, %v", did, err)
			}
			select {
			case <-done:
				over = true
			default:
			}
		}
		if text, err := os.ReadFile(b.dir + "/f"); err != nil || string(text) != "theirs "+strconv.Itoa(round*1000+59) {
			t.Fatalf("f is %q, %v", text, err)
		}
	}
}

// TestDangerousFiles: what has no place outside. cp(1) would bring each over.
func TestDangerousFiles(t *testing.T) {
	needs.Programs(t, "python3", "cp")
	b := newBench(t, files{"real/f": "1"})
	outside := t.TempDir()
	b.write(outside, files{"f": "SECRET"})
	if err := os.Symlink(outside, b.dir+"/ext"); err != nil { // the user's own link
		t.Fatal(err)
	}
	b.run(`mkfifo fifo; echo '#!/bin/sh' >suid; chmod 4755 suid; cp suid sgid; chmod 2755 sgid
		python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
		ln -s /etc/passwd absolute; ln -s ../state relative; ln -s ext/f throughtheirs; ln -s real/../../x dots
		mkdir d; ln -s ../.. d/up; ln -s d/up/x chained; ln -s loop loop
		ln -s real/f ok; ln -s ../real d/okup; ln -s ` + b.dir + `/real/f okabsolute; ln -s nowhere dangling; ln -s d/okup/f okchain`)
	if os.Geteuid() == 0 {
		for name, mode := range map[string]uint32{"null": unix.S_IFCHR | 0o666, "disk": unix.S_IFBLK | 0o666} {
			if err := unix.Mknod(filepath.Join(b.upper(), name), mode, int(unix.Mkdev(1, 3))); err != nil {
				t.Fatal(err)
			}
		}
		b.write(b.upper(), files{"caps": "#!/bin/sh"})
		cap := []byte("\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00")
		if err := unix.Setxattr(filepath.Join(b.upper(), "caps"), "security.capability", cap, 0); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", b.upper(), copied).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	done, refused := b.apply()
	want := map[string]string{
		"fifo": "a fifo", "suid": "rights of its owner", "sgid": "rights of its owner", "sock": "a socket", "absolute": "leads out", "relative": "leads out",
		"throughtheirs": "leads out", "dots": "leads out", "d/up": "leads out", "chained": "leads out", "loop": "leads out",
	}
	if os.Geteuid() == 0 {
		want["null"], want["disk"], want["caps"] = "a device node", "a device node", "would give capabilities"
	}
	why := map[string]string{}
	for _, line := range refused {
		name, reason, _ := strings.Cut(strings.TrimPrefix(line, "added "), " ! ")
		name, _, _ = strings.Cut(name, " ")
		why[name] = reason
	}
	for name, reason := range want {
		if !strings.Contains(why[name], reason) {
			t.Errorf("%s: %q, not %q", name, why[name], reason)
		}
		if _, err := os.Lstat(filepath.Join(b.dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is in the directory: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(copied, name)); err != nil {
			t.Errorf("cp did not bring %s over, so it proves nothing: %v", name, err)
		}
		delete(why, name)
	}
	if len(why) > 0 {
		t.Errorf("refused as well: %v", why)
	}
	for _, name := range []string{"ok", "d/okup", "okabsolute", "dangling", "okchain"} {
		if _, err := os.Lstat(filepath.Join(b.dir, name)); err != nil {
			t.Errorf("%s: %v; done: %q", name, err, done)
		}
	}
}

// TestHostileRedirect: a directory that says it was one outside.
func TestHostileRedirect(t *testing.T) {
	b := newBench(t, files{"d/f": "1"})
	outside := filepath.Join(filepath.Dir(b.dir), "outside")
	b.write(outside, files{"f": "SECRET"})
	b.run("echo 2 >d/f; mkdir new")
	for _, to := range []string{"/../outside", "../outside", "/link"} {
		if to == "/link" {
			if err := os.Symlink(outside, b.dir+"/link"); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Setxattr(b.upper()+"/new", "user.overlay.redirect", []byte(to), 0); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(b.dir, to, "f")); err != nil || string(text) != "SECRET" {
			t.Errorf("by path the redirect %q leads nowhere: %q, %v", to, text, err)
		}
		_, _, err := b.applyOrError()
		if all := tree(t, b.dir); err == nil || strings.Contains(all, "SECRET") {
			t.Errorf("redirect %q: %v\n%s", to, err, all)
		}
	}
}

// TestRedirectAndMetacopy: directories that were renamed, and files whose content is below, as
// the kernel makes them when it is asked to.
func TestRedirectAndMetacopy(t *testing.T) {
	needs.Root(t, "an overlay in a user namespace has neither")
	needs.Programs(t, "unshare", "mount")
	b := newBench(t, files{"old/f": "f\n", "old/sub/g": "g\n", "old/h": "h\n", "big": "content\n"})
	b.p.Unshare.User = false
	b.run("true")
	mount := `mount -t overlay overlay -o lowerdir="$1",upperdir="$2",workdir="$2/../work",redirect_dir=on,metacopy=on /mnt && cd /mnt &&
		mv old new && mv new/sub new/moved && echo 2 >new/f && rm new/h && chmod 600 big && mv big bigger`
	out, err := exec.Command("unshare", "--mount", "sh", "-ec", mount, "sh", b.dir, b.upper()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.wantDiff("removed big", "added bigger", "added new directory", "added new/f", "added new/moved directory", "added new/moved/g", "removed old directory")
	if _, refused := b.apply(); len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
	const want = "drwxr-xr-x .\n-rw------- bigger content\ndrwxr-xr-x new\n-rw-r--r-- new/f 2\ndrwxr-xr-x new/moved\n-rw-r--r-- new/moved/g g\n"
	if got := tree(t, b.dir); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestKilledApply: what an Apply left that was killed is taken away by the next one.
func TestKilledApply(t *testing.T) {
	b := newBench(t, files{"sub/f": "1"})
	b.run("echo 2 >sub/f")
	b.write(b.dir, files{"sub/.cloche-apply-1/x": "half"})
	if err := os.WriteFile(filepath.Join(b.upper(), "../../applying-0"), []byte("sub\x00.cloche-apply-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if done, refused := b.apply(); len(done) != 1 || len(refused) > 0 {
		t.Errorf("done: %q, refused: %q", done, refused)
	}
	if got := tree(t, b.dir); strings.Contains(got, ".cloche") || !strings.Contains(got, "sub/f 2") {
		t.Error(got)
	}
}
