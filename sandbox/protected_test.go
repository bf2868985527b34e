package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// tree makes files and directories (with a slash at the end) in a directory of the
// test's own.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(n, "/") {
			err = os.MkdirAll(p, 0o755)
		} else {
			err = os.WriteFile(p, []byte(n), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func script(t *testing.T, dir, text string, flags ...string) (string, error) {
	t.Helper()
	c := sandbox.Command(context.Background(), with(t, defaults(t), flags...), "sh", "-c", text)
	c.Dir = dir
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestGuardedNames: what guards a name in a tree that the command may write stays
// there, whatever the command does to the directories above.
func TestGuardedNames(t *testing.T) {
	dir := tree(t, "repo/.git/hooks/sample", "repo/.git/objects/x", "repo/a/b/secret")
	repo := filepath.Join(dir, "repo")
	attack := `
		mv .git moved; mv .git/hooks .git/elsewhere; rmdir .git/hooks; rm -rf .git
		mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit
		mv a c; mv a/b a/d; mv a/b/secret a/b/s; ln -sfn /tmp a/b; mkdir -p a/b; echo evil > a/b/secret
		cat a/b/secret; true`
	out, err := script(t, repo, attack, "write", repo, "read", repo+"/.git/hooks", "hide", repo+"/a/b/secret")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(out, "repo/a/b/secret") || strings.Contains(out, "evil\n") {
		t.Errorf("the hidden file was read:\n%s", out)
	}
	if got, err := os.ReadDir(repo + "/.git/hooks"); err != nil || len(got) != 1 || got[0].Name() != "sample" {
		t.Errorf("the read-only directory is not what it was: %v %v", got, err)
	}
	if got, err := os.ReadFile(repo + "/a/b/secret"); err != nil || string(got) != "repo/a/b/secret" {
		t.Errorf("the hidden file is not what it was: %q %v", got, err)
	}
	// Without the entries all of it works: the attack is one.
	dir = tree(t, "repo/.git/hooks/sample", "repo/a/b/secret")
	repo = filepath.Join(dir, "repo")
	if out, err := script(t, repo, attack, "write", repo); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, _ := os.ReadFile(repo + "/.git/hooks/pre-commit"); string(got) != "evil\n" {
		t.Errorf("without protection the attack does nothing: %q", got)
	}
}

// TestGuardedRefused: what could not be kept is refused by name.
func TestGuardedRefused(t *testing.T) {
	dir := tree(t, "w/dir/x")
	if err := os.Symlink("dir", dir+"/w/link"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ want, kind, path string }{
		{"symbolic link", "read", "/w/link"},
		{"symbolic link", "hide", "/w/link/x"},
		{"does not exist yet", "hide", "/w/later"},
	} {
		out, err := script(t, dir, "true", "write", dir+"/w", c.kind, dir+c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v %s, want a refusal that says %q", c.kind, c.path, err, out, c.want)
		}
	}
}

// TestHiddenInPrivate: names in what the sandbox has of its own can be hidden too.
func TestHiddenInPrivate(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ hide, attack string }{
		{"/tmp/later", "echo x > /tmp/later"},
		{"/tmp/a/b", "mv /tmp/a /tmp/c; mkdir -p /tmp/a; echo x > /tmp/a/b"},
		{"/dev/shm", "echo x > /dev/shm/x"},
		{"/dev/shm/later", "echo x > /dev/shm/later"},
		{"/dev/null", "echo x > /dev/null"},
		{"/proc/cpuinfo", "head -c 1 /proc/cpuinfo"},
	} {
		if out, err := script(t, dir, c.attack, "hide", c.hide); err == nil {
			t.Errorf("hide %s: %q worked: %s", c.hide, c.attack, out)
		}
		if out, err := script(t, dir, c.attack+"; true"); err != nil {
			t.Errorf("without hide %s: %v %s", c.hide, err, out)
		}
	}
	for _, refused := range []string{"/proc/self", "/proc/1", "/dev/stdin", "/dev/pts/0"} {
		if _, err := script(t, dir, "true", "hide", refused); err == nil {
			t.Errorf("hide %s is taken and can't be kept", refused)
		}
	}
}

// TestDevicesAdded: a fresh /dev takes what the policy adds.
func TestDevicesAdded(t *testing.T) {
	dir := tree(t, "data")
	out, err := script(t, dir, "cat /dev/added/data; test -c /dev/null && ls -d /dev/added", "bind", dir+"/data:/dev/added/data")
	if err != nil || out != "data/dev/added\n" {
		t.Errorf("%q %v", out, err)
	}
}

// TestBehindHostLink: a file that a shown link leads to is shown where it leads.
func TestBehindHostLink(t *testing.T) {
	dir := tree(t, "shown/x", "hidden/real")
	if err := os.Symlink(dir+"/hidden/real", dir+"/shown/link"); err != nil {
		t.Fatal(err)
	}
	out, err := script(t, "/", "cat "+dir+"/shown/link", "read", dir+"/shown", "read", dir+"/shown/link")
	if err != nil || out != "hidden/real" {
		t.Errorf("%q %v", out, err)
	}
	if out, err := script(t, "/", "cat "+dir+"/shown/link", "read", dir+"/shown"); err == nil {
		t.Errorf("shown without being asked for: %q", out)
	}
}
