package cli_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// TestExecUser: what joins is the user that is asked for, and never more than the sandbox's own command.
func TestExecUser(t *testing.T) { asRootAndUser(t, execUser) }

func execUser(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	background(t, "plain", "--", "sleep", "1000")
	background(t, "root", "--map-root", "--", "sleep", "1000")
	uid, gid := os.Geteuid(), os.Getegid()
	other := fmt.Sprintf("the sandbox's own command is user %d, group %d, and what joins is never more than that", uid, gid)
	if uid == 0 {
		other = "an id is outside of what the user namespace maps"
	}
	for _, c := range []struct{ name, user, want string }{
		{"plain", fmt.Sprint(uid), ""},
		{"plain", fmt.Sprintf("%d:%d", uid, gid), ""},
		{"plain", "12345", other},
		{"plain", "nobody", other},
		{"plain", "no-such-user", "the sandbox's /etc/passwd has no such user; give a number"},
		{"plain", "0:no-such-group", "the sandbox's /etc/group has no such group; give a number"},
		{"root", "0", ""},
		{"root", "root", ""},
		{"root", "0:root", ""},
		{"root", "12345", "an id is outside of what the user namespace maps"},
	} {
		out, err := cloche("exec", "--user", c.user, c.name, "--", "sh", "-c", "id -u; id -g").CombinedOutput()
		ids := fmt.Sprintf("%d\n%d\n", uid, gid)
		if c.name == "root" {
			ids = "0\n0\n"
		}
		if c.want == "" && (err != nil || string(out) != ids) || c.want != "" && (exitCode(err) != 125 || !strings.Contains(string(out), c.want)) {
			t.Errorf("exec --user %s %s: %v: %q, want %q", c.user, c.name, err, out, c.want)
		}
	}
	for _, c := range []struct{ flag, want string }{
		{"--cwd=/nowhere", "/nowhere is not there inside"}, {"--cwd=relative", "write the whole path inside"}, {"--env==x", "write NAME=VALUE"},
	} {
		if out, err := cloche("exec", c.flag, "plain", "--", "true").CombinedOutput(); exitCode(err) != 125 || !strings.Contains(string(out), c.want) {
			t.Errorf("exec %s: %v: %q, want %q", c.flag, err, out, c.want)
		}
	}
	t.Setenv("FROM_HERE", "here")
	if got := ok(t, "exec", "--env", "A=1", "--env", "FROM_HERE", "--env", "A=2", "--env", "NOT_SET_ANYWHERE", "plain", "--", "sh", "-c", "echo $A $FROM_HERE ${NOT_SET_ANYWHERE-unset}"); got != "2 here unset\n" {
		t.Errorf("--env: %q", got)
	}
}

// TestDetachRefused: who starts a sandbox in the background is told that it can't be made, also where a program
// stays beside it, which runs others to make it.
func TestDetachRefused(t *testing.T) { asRootAndUser(t, detachRefused) }

func detachRefused(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	ids := t.TempDir() + "/policy.toml"
	if err := os.WriteFile(ids, []byte("[limits]\ncpuset = \"100000\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"--user", "ranges"}, {"--wall-time", "1m", "--policy", ids}} {
		for range 8 {
			out, err := cloche(append(append([]string{"run", "--name", "box", "--detach"}, flags...), "--", "sleep", "1000")...).CombinedOutput()
			if err == nil && flags[0] == "--user" {
				ok(t, "rm", "--force", "box") // this user has such ids
				break
			}
			if exitCode(err) != 125 || !strings.HasPrefix(string(out), "cloche: ") {
				t.Fatalf("%q: %v: %q", flags, err, out)
			}
		}
	}
}
