package launcher

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// TestPreludeByName: for bubblewrap's command line the second program begins, and what has yet
// another name is left to the first.
func TestPreludeByName(t *testing.T) {
	for _, c := range []struct {
		args string
		want uint64
	}{
		{"bwrap", preludeBeside},
		{"bwrap --version", preludeBeside},
		{"bwrap run -- tool", preludeBeside},
		{"/usr/bin/bwrap run tool", preludeBeside},
		{"./bwrap run tool", preludeBeside},
		{"cloche bwrap --version", preludeBeside},
		{"/usr/bin/cloche bwrap run tool", preludeBeside},
		{"xbwrap run tool", preludeEntry},
		{"cloche bwrapped tool x", preludeEntry},
		{"cloche bwra tool x", preludeEntry},
		{"cloche-oci run tool", preludeEntry},
		{"/usr/bin/cloche-oci run -- tool", preludeEntry},
		{"wrap run tool", preludeEntry},
	} {
		_, im, h := preludeImage(t, "amd64", pidsV1)
		h.behind = true
		k := h.kernel()
		first, err := Simulate(im.ELF, k, SimulateOptions{Args: strings.Fields(c.args), Env: preludeEnv()})
		if err != nil {
			t.Fatal(err)
		}
		if first.Entry != c.want {
			t.Errorf("%s: entered %#x, want %#x", c.args, first.Entry, c.want)
		}
		for _, e := range k.Trace {
			if !e.Call.IsPseudo() && e.Call != plan.SysMadvise && e.Call != plan.SysClose {
				t.Errorf("%s: called %s", c.args, e.Call.Name())
			}
		}
	}
}
