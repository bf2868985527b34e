package cli_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// cycles is how many sandboxes TestNamesUnderFire starts; CLOCHE_CYCLES has another number.
const cycles = 300

// TestNamesUnderFire starts and stops sandboxes from 8 workers, kills what watches them at
// random, and lists, looks and removes meanwhile. No record is ever damaged, every command is
// right, and in the end nothing is left.
func TestNamesUnderFire(t *testing.T) { asRootAndUser(t, namesUnderFire) }

func namesUnderFire(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, filepath.Join(openDir(t), "st"))
	total := int64(cycles)
	if n, err := strconv.ParseInt(os.Getenv("CLOCHE_CYCLES"), 10, 64); err == nil {
		total = n
	}
	mark := "86" + strconv.Itoa(100000+rand.IntN(900000)) // in seconds; nobody else sleeps as long
	var next, killed, ran atomic.Int64
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for next.Add(1) <= total && !t.Failed() {
				name := fmt.Sprintf("fire%d-%d", w, rand.IntN(3)) // names are used again
				args := [][]string{{"true"}, {"sh", "-c", "exit 7"}, {"sleep", mark}}[rand.IntN(3)]
				cmd := cloche(append([]string{"run", "--name", name, "--"}, args...)...)
				var stderr strings.Builder
				cmd.Stderr = &stderr
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				fire := args[0] == "sleep" || rand.IntN(2) == 0
				if fire {
					killed.Add(1)
					time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
					_ = cmd.Process.Kill()
				}
				err := cmd.Wait()
				if want := map[string]int{"true": 0, "sh": 7}[args[0]]; !fire && cmd.ProcessState.ExitCode() != want {
					t.Errorf("%v: %v: %s", args, err, stderr.String())
				}
				ran.Add(1)
				lookAround(t, name)
			}
		})
	}
	wait.Wait()
	t.Logf("%d ran, of which %d were killed", ran.Load(), killed.Load())
	waitFor(t, "the sandboxes to end", func() bool {
		out, _ := exec.Command("pgrep", "-fx", "sleep "+mark).Output()
		return len(out) == 0
	})
	list(t) // writes down who was killed
	if out, err := cloche("prune").CombinedOutput(); err != nil {
		t.Errorf("prune: %v: %s", err, out)
	}
	if rows := list(t); len(rows) > 0 {
		t.Errorf("left: %v", rows)
	}
	if left, _ := filepath.Glob(os.Getenv(named.DirVariable) + "/*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// A cgroup whose maker was killed is removed by the next start.
	_ = cloche("run", "--name", "last", "--", "true").Run()
	_ = cloche("rm", "last").Run()
	for _, pattern := range []string{"/sys/fs/cgroup/*/cloche-*-fire*", "/sys/fs/cgroup/cloche-*-fire*"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// lookAround does what others do meanwhile.
func lookAround(t *testing.T, name string) {
	t.Helper()
	switch rand.IntN(4) {
	case 0:
		list(t)
	case 1:
		// It may run again by now, or be removed.
		out, err := cloche("rm", name).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "end it first") && !strings.Contains(string(out), "there is no sandbox") {
			t.Errorf("rm: %v: %s", err, out)
		}
	case 2:
		out, err := cloche("inspect", name).CombinedOutput()
		if s := string(out); err != nil && !strings.Contains(s, "does not run") && !strings.Contains(s, "there is no sandbox") && !strings.Contains(s, "has ended") && !strings.Contains(s, "just starting") && !strings.Contains(s, "no process") && !strings.Contains(s, "does not exist") {
			t.Errorf("inspect: %v: %s", err, out)
		}
	}
}

// list is `cloche ps`, whose output must be whole.
func list(t *testing.T) (rows []struct{ Name, State string }) {
	t.Helper()
	cmd := cloche("ps", "--json")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &rows)
	}
	if err != nil || strings.Contains(stderr.String(), "damaged") {
		t.Errorf("ps: %v: %s\n%s", err, stderr.String(), out)
	}
	return rows
}
