package inspect_test

import (
	"embed"
	"os/exec"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

//go:embed testdata
var sources embed.FS

// TestThreadDiffers runs a program of four threads of which one has credentials, a filter,
// capabilities or a namespace of its own, which libc would have given to all.
func TestThreadDiffers(t *testing.T) {
	program := compile(t, "threads.c", "-pthread")
	for _, c := range []struct {
		what, differs string
		root          bool
	}{
		{"setuid", "uids [61358 61358 61358 61358] (its siblings: [0 0 0 0])", true},
		{"groups", "groups [4 5] (its siblings: [", true},
		{"caps", "effective CAP_KILL (its siblings: ", true},
		{"netns", "namespaces net:[", true},
		{"filter", "seccomp filter, 1 filter (its siblings: none)", false},
		{"nothing", "", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.root {
				needs.Root(t, "only root may")
			}
			p := mustLook(t, startReady(t, exec.Command(program, c.what)))
			if len(p.Threads) != 4 {
				t.Fatalf("%d threads, not 4", len(p.Threads))
			}
			for _, th := range p.Threads {
				differs := strings.Join(th.Differs, "\n")
				switch {
				case th.Name == "odd" && c.differs != "":
					if !strings.Contains(differs, c.differs) {
						t.Errorf("the odd thread differs in %q, which lacks %q", differs, c.differs)
					}
				case differs != "":
					t.Errorf("thread %d (%s) differs: %s", th.TID, th.Name, differs)
				}
			}
		})
	}
}

// TestThreadByTID: a tid stands for its process.
func TestThreadByTID(t *testing.T) {
	pid := startReady(t, exec.Command(compile(t, "threads.c", "-pthread")))
	p := mustLook(t, pid)
	if q := mustLook(t, p.Threads[2].TID); q.PID != pid {
		t.Errorf("tid %d is process %d, not %d", p.Threads[2].TID, q.PID, pid)
	}
}

// TestTreeShowsThreads: the tree has each thread, with its mark.
func TestTreeShowsThreads(t *testing.T) {
	pid := startReady(t, exec.Command(compile(t, "threads.c", "-pthread"), "filter"))
	roots, err := inspect.Tree(pid, 0)
	if err != nil || len(roots) != 1 || len(roots[0].Threads) != 4 {
		t.Fatalf("%v, %v", roots, err)
	}
	marked := 0
	for _, th := range roots[0].Threads {
		if len(th.Differs) > 0 {
			marked++
		}
	}
	if marked != 1 {
		t.Errorf("%d threads are marked, not 1", marked)
	}
}
