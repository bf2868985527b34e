package cli_test

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// aliveAtOnce is how many sandboxes TestManyAlive has; CLOCHE_ALIVE has another number. The goals
// are those of 500.
const aliveAtOnce = 60

// TestManyAlive: with many idle sandboxes in the background ps and inspect are quick, and what
// watches them and their logs needs little memory.
func TestManyAlive(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	total := aliveAtOnce
	if n, err := strconv.Atoi(os.Getenv("CLOCHE_ALIVE")); err == nil {
		total = n
	}
	names := make([]string, total)
	for i := range names {
		names[i] = "box-" + strconv.Itoa(i)
	}
	t.Cleanup(func() {
		if out, err := cloche(append([]string{"rm", "--force"}, names...)...).CombinedOutput(); err != nil {
			t.Errorf("rm: %v: %s", err, out)
		}
	})
	var start sync.WaitGroup
	for w := range 4 {
		start.Go(func() {
			for i := w; i < total && !t.Failed(); i += 4 {
				if out, err := cloche("run", "--name", names[i], "--detach", "--", "sleep", "infinity").CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", names[i], err, out)
				}
			}
		})
	}
	start.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, goal := range []struct {
		args  []string
		most  time.Duration
		lines int
	}{
		{[]string{"ps"}, 150 * time.Millisecond, 1 + total},
		{[]string{"inspect", names[total/2]}, 20 * time.Millisecond, 0},
	} {
		best := time.Hour
		for range 10 { // the machine has other things to do
			began := time.Now()
			out, err := cloche(goal.args...).Output()
			best = min(best, time.Since(began))
			if lines := bytes.Count(out, []byte("\n")); err != nil || goal.lines > 0 && lines != goal.lines {
				t.Fatalf("%q: %d lines, %v", goal.args, lines, err)
			}
		}
		t.Logf("%q of %d: %v", goal.args, total, best)
		if best > goal.most {
			t.Errorf("%q of %d takes %v, more than %v", goal.args, total, best, goal.most)
		}
	}

	all, _, err := named.List()
	if err != nil || len(all) != total {
		t.Fatalf("%d sandboxes, %v", len(all), err)
	}
	watchers := keepers(t)
	for _, s := range all {
		watchers = append(watchers, s.Owner.Pid, s.InitPID())
	}
	pss := 0
	for _, pid := range watchers {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if os.IsPermission(err) {
			t.Log("this user may not read how much memory an undumpable process has")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := bytes.Cut(text, []byte("\nPss:"))
		kib, _ := strconv.Atoi(string(bytes.Fields(after)[0]))
		pss += kib
	}
	t.Logf("memory (PSS) beyond the commands: %d KiB", pss)
	const most = 40 << 10
	if pss > most {
		t.Errorf("%d sandboxes need %d KiB (PSS) beyond their commands, more than %d", total, pss, most)
	}
}
