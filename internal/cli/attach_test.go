package cli_test

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// TestAttach drives a shell in the background by a terminal that comes and goes.
func TestAttach(t *testing.T) { asRootAndUser(t, attach) }

func attach(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	if out, err := cloche("run", "--name", "box", "--detach", "-t", "--env", "PS1="+prompt, "--", "sh", "-i").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := cloche("rm", "--force", "box").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	y := newTTY(t)
	cmd := y.begin(cloche("attach", "box"))
	y.typed("echo fi''rst; until [ \"$(stty size)\" = '21 77' ]; do :; done; echo si''zed\n")
	y.shown("first")
	y.shown("sized")
	y.raw()
	y.resize(33, 101)
	y.typed("until [ \"$(stty size)\" = '33 101' ]; do :; done; echo re''sized\n")
	y.shown("resized")
	y.typed("\x10\x11") // ctrl-p, ctrl-q
	y.ends(cmd, 0)

	cmd = y.begin(cloche("attach", "--detach-keys", "ctrl-x,q", "box"))
	y.typed("sh -c 'echo run''ning; exec sleep 1000'\n")
	y.shown("running")
	y.typed("\x03")
	y.typed("\x18\x15echo st''ill here\n") // the first of the keys alone is passed on
	y.shown("still here")
	y.typed("\x18q")
	y.ends(cmd, 0)
	eventually(t, "the log to have it too", func() bool { return strings.Contains(ok(t, "logs", "box"), "still here\r\ninside> ") })

	cmd = y.begin(cloche("attach", "box"))
	y.typed("\x15exit 7\n")
	y.ends(cmd, 7)
	if out, err := cloche("attach", "box").CombinedOutput(); err == nil || !strings.Contains(string(out), "does not run") {
		t.Errorf("attach to one that has ended: %v: %s", err, out)
	}
}
