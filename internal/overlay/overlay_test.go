package overlay_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/overlay"
)

const script = `echo more >>a; rm b; rm -r sub; mkdir sub; echo new >sub/n; chmod 600 c; mv move moved
	ln -s sub/n in; ln a a2; mkdir -m 750 d; echo x >d/x; rm -r gone; rm link; echo file >link; rm tofile/f; rmdir tofile; echo f >tofile
	rm todir; mkdir todir; echo y >todir/y; touch -d 2001-02-03 old; : >'odd
name'; chmod +x run; cat same >/dev/null; exec 3<>opened`

var start = files{
	"a": "a\n", "b": "b\n", "c": "c\n", "sub/old": "x\n", "move/f": "1\n", "gone/deep/er": "1", "link": "->c", "tofile/f": "1",
	"todir": "1", "old": "o", "run": "#!/bin/sh\n", "same": "s", "opened": "o", "keep/k": "k\n",
}

// TestChanges: every kind of change is listed, brought over, and gone from the list.
func TestChanges(t *testing.T) {
	b := newBench(t, start)
	before := tree(t, b.dir)
	inside := b.run(script + "; ls -lR --time-style=+ | grep -v total")
	if got := tree(t, b.dir); got != before {
		t.Fatalf("the directory changed:\n%s", cmp.Diff(before, got))
	}
	b.wantDiff(
		"changed a (content)", "added a2", "removed b", "changed c (mode)", "added d directory", "added d/x", "removed gone directory",
		"added in symlink", "changed link (type)", "removed move directory", "added moved directory", "added moved/f", "added odd\nname",
		"changed old (time)", "changed run (mode)", "added sub/n", "removed sub/old", "changed todir directory (type)", "added todir/y",
		"changed tofile (type)",
	)
	if _, refused := b.apply(); len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
	b.wantDiff()
	ls := exec.Command("sh", "-c", "ls -lR --time-style=+ | grep -v total")
	ls.Dir = b.dir
	out, err := ls.Output()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(inside, string(out)); d != "" {
		t.Errorf("inside before - the directory now +\n%s", d)
	}
	var x, y unix.Stat_t
	if unix.Stat(b.dir+"/a", &x) != nil || unix.Stat(b.dir+"/a2", &y) != nil || x.Ino != y.Ino {
		t.Error("a and a2 are no longer one file")
	}
	// Nothing that was needed meanwhile is left.
	if left := tree(t, b.dir); strings.Contains(left, ".cloche") {
		t.Error(left)
	}
}

// TestKeptOverRuns: a second run of that name sees the changes of the first, and adds to them.
func TestKeptOverRuns(t *testing.T) {
	b := newBench(t, files{"a": "a\n", "b": "b\n", "late": "1"})
	b.run("echo 1 >a; rm b")
	// What was changed between the runs the second one has seen.
	b.write(b.dir, files{"late": "2"})
	if out := b.run("cat a; echo 2 >a; ls; cat late; echo 3 >late"); out != "1\na\nlate\n2" {
		t.Errorf("%q", out)
	}
	b.wantDiff("changed a (content)", "removed b", "changed late (content)")
	// But for what the first one had changed already.
	b.write(b.dir, files{"a": "theirs\n"})
	b.run("echo 3 >a")
	b.wantDiff("changed a (content) ! it was changed in the directory meanwhile", "removed b", "changed late (content)")
}

// TestApplySome: one path, with the new directories above it.
func TestApplySome(t *testing.T) {
	b := newBench(t, files{"a": "a\n"})
	b.run("mkdir -p x/y; echo 1 >x/y/z; echo 2 >x/other; echo 3 >a")
	done, refused := b.apply("x/y/z")
	if d := cmp.Diff([]string{"added x directory", "added x/y directory", "added x/y/z"}, done); d != "" || len(refused) > 0 {
		t.Errorf("done: want - got +\n%s\nrefused: %q", d, refused)
	}
	b.wantDiff("changed a (content)", "added x/other")
}

// TestMeanwhile: nothing that was changed in the directory since the start is lost.
func TestMeanwhile(t *testing.T) {
	b := newBench(t, files{"edit": "1\n", "delete": "1\n", "remove": "1\n", "dir/a": "1\n", "dir/b": "1\n", "same": "1\n", "mode": "1\n"})
	b.run("echo inside >edit; echo inside >delete; rm remove; rm -r dir; echo inside >new; echo inside >mode; echo both >same")
	b.write(b.dir, files{"edit": "outside\n", "remove": "outside\n", "dir/c": "outside\n", "new": "outside\n", "same": "both\n"})
	if os.Chtimes(b.dir+"/same", time.Time{}, time.Unix(1e9, 0)) != nil || os.Remove(b.dir+"/delete") != nil || os.Chmod(b.dir+"/mode", 0o600) != nil {
		t.Fatal("the directory can't be changed")
	}
	before := tree(t, b.dir)
	const changed = " ! it was changed in the directory meanwhile"
	b.wantDiff("added delete ! it was removed from the directory meanwhile", "removed dir directory ! dir/c was made in the directory meanwhile",
		"changed edit (content)"+changed, "changed mode (content, mode)"+changed, "changed new (content) ! something of that name was made in the directory meanwhile",
		"removed remove"+changed, "changed same (time)"+changed)
	if done, _ := b.apply(); len(done) > 0 {
		t.Errorf("done: %q", done)
	}
	if d := cmp.Diff(before, tree(t, b.dir)); d != "" {
		t.Errorf("the directory changed:\n%s", d)
	}
}

// TestModeOfTheTop: the directory itself.
func TestModeOfTheTop(t *testing.T) {
	b := newBench(t, files{"a": "1"})
	b.wantNothing("true")
	b.run("chmod 700 .")
	b.wantDiff("changed . directory (mode)")
	b.apply()
	if info, err := os.Stat(b.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	b.wantDiff()
}

func (b *bench) wantNothing(script string) {
	b.Helper()
	b.run(script)
	b.wantDiff()
}

// TestAttributes: extended attributes go along, those of overlayfs stay.
func TestAttributes(t *testing.T) {
	needs.Programs(t, "python3")
	b := newBench(t, files{"a": "1", "b": "1"})
	b.run(`python3 -c 'import os; os.setxattr("a", "user.x", b"1"); os.mkdir("d"); os.setxattr("d", "user.y", b"2"); open("n", "w"); os.setxattr("n", "user.z", b"3")'`)
	b.wantDiff("changed a (attributes)", "added d directory", "added n")
	b.apply()
	b.wantDiff()
	for name, attr := range map[string]string{"a": "user.x=1", "d": "user.y=2", "n": "user.z=3"} {
		buf := make([]byte, 1024)
		n, err := unix.Listxattr(filepath.Join(b.dir, name), buf)
		key, value, _ := strings.Cut(attr, "=")
		got := make([]byte, 16)
		m, _ := unix.Getxattr(filepath.Join(b.dir, name), key, got)
		if list := string(buf[:max(0, n)]); err != nil || list != key+"\x00" || string(got[:max(0, m)]) != value {
			t.Errorf("%s has %q, %s is %q, %v", name, list, key, got[:max(0, m)], err)
		}
	}
}

// TestHoles: a file that is large in name alone costs nothing to bring over.
func TestHoles(t *testing.T) {
	b := newBench(t, files{"a": "1"})
	b.run("truncate -s 1T big; printf end | dd of=big bs=1 seek=1000000 conv=notrunc 2>/dev/null; truncate -s 3 empty; printf x >>empty")
	b.apply()
	b.wantDiff()
	var st unix.Stat_t
	if err := unix.Stat(b.dir+"/big", &st); err != nil || st.Size != 1<<40 || st.Blocks > 1000 {
		t.Errorf("%d bytes, %d blocks, %v", st.Size, st.Blocks, err)
	}
	buf := make([]byte, 5)
	f, err := os.Open(b.dir + "/big")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(buf, 999_999); err != nil || string(buf) != "\x00end\x00" {
		t.Errorf("%q, %v", buf, err)
	}
	if text, err := os.ReadFile(b.dir + "/empty"); err != nil || string(text) != "\x00\x00\x00x" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestPatch: what git and patch make of the patch is what the sandbox saw, but for
// directories without files.
func TestPatch(t *testing.T) {
	needs.Programs(t, "git", "patch")
	b := newBench(t, start)
	b.run(script + `; printf 'no newline' >>a; printf 'a\0b' >binary; mkdir empty`)
	var patch strings.Builder
	s := b.store()
	if err := s.Patch(s.Layers[0], &patch); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !strings.Contains(patch.String(), "Binary files /dev/null and b/binary differ") || !strings.Contains(patch.String(), "# empty added: directory\n") {
		t.Error(patch.String())
	}
	text := patch.String()
	i := strings.Index(text, "diff --git a/binary")
	j := i + strings.Index(text[i:], "differ\n") + len("differ\n")
	text = text[:i] + text[j:] // git refuses a whole patch for it
	for _, with := range [][]string{{"git", "apply", "-p1"}} {
		copied := filepath.Join(t.TempDir(), "copy")
		if out, err := exec.Command("cp", "-a", b.dir, copied).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		cmd := exec.Command(with[0], with[1:]...)
		cmd.Dir, cmd.Stdin = copied, strings.NewReader(text)
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(copied))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s\n%s", with, err, out, text)
		}
		want := strings.Split(b.run("rm binary; rmdir empty; find . ! -type d -printf '%y %p %l\n' | sort; cat $(find . -type f ! -name 'odd*' | sort)"), "\n")
		find := exec.Command("sh", "-c", "find . ! -type d -printf '%y %p %l\n' | sort; cat $(find . -type f ! -name 'odd*' | sort)")
		find.Dir = copied
		out, err := find.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if d := cmp.Diff(want, strings.Split(string(out), "\n")); d != "" {
			t.Errorf("%v: inside - patched +\n%s", with, d)
		}
	}
}

// TestRefusals of Keep.
func TestRefusals(t *testing.T) {
	b := newBench(t, files{"a": "1"})
	t.Setenv("XDG_STATE_HOME", b.dir)
	if _, err := b.try("true"); err == nil || !strings.Contains(err.Error(), "which lies in it; name another place") {
		t.Errorf("a store in the directory: %v", err)
	}
	if err := os.RemoveAll(b.dir + "/cloche"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", b.state)
	b.run("true")
	if err := os.Chmod(filepath.Join(b.state, "cloche/overlays"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := overlay.Open("box"); err == nil || !strings.Contains(err.Error(), "can be written to by others") {
		t.Errorf("a store that all may write to: %v", err)
	}
	if err := os.Chmod(filepath.Join(b.state, "cloche/overlays"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The directory was replaced by another one.
	if err := os.Rename(b.dir, b.dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try("true"); err == nil || !strings.Contains(err.Error(), "which was replaced") {
		t.Errorf("another directory: %v", err)
	}
	s := b.store()
	defer s.Close()
	if _, err := s.Diff(s.Layers[0]); err == nil || !strings.Contains(err.Error(), "is another directory") {
		t.Errorf("another directory: %v", err)
	}
	if _, err := overlay.Open("box"); err == nil || !strings.Contains(err.Error(), "another cloche works") {
		t.Errorf("a store that is open: %v", err)
	}
	if _, err := overlay.Open("nobox"); err != overlay.ErrNone {
		t.Errorf("no store: %v", err)
	}
}

// TestDiscard: also what is nested so deep that no path names it.
func TestDiscard(t *testing.T) {
	needs.Programs(t, "python3")
	b := newBench(t, files{"a": "1"})
	b.run(`python3 -c '
import os
for i in range(1300):
    os.mkdir("d"); os.chdir("d")
os.chmod("../d", 0)'`)
	s := b.store()
	if _, err := s.Diff(s.Layers[0]); err == nil || !strings.Contains(err.Error(), "nested more than") {
		t.Errorf("%v", err)
	}
	s.Close()
	// Also what can't be read any more.
	if err := os.WriteFile(filepath.Join(b.state, "cloche/overlays/box/record.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := overlay.Discard("box"); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(b.state, "cloche/overlays")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
