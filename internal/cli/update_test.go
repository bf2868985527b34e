package cli_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// requireCgroup skips where no cgroup can be made.
func requireCgroup(t *testing.T) {
	t.Helper()
	requireSandbox(t)
	has, err := condition("cgroup")
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case has:
	case couldHave("cgroup"):
		needs.Skip(t, "no cgroup can be made here")
	default:
		needs.Elsewhere(t, "this user may make no cgroup here")
	}
}

// setting is what the cgroup of a sandbox has in the first of these files that is there: "v2 v1".
func setting(t *testing.T, name string, files ...string) string {
	t.Helper()
	box, err := named.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range box.Cgroup {
		for _, file := range files {
			if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				return strings.TrimSpace(string(text))
			}
		}
	}
	t.Fatalf("%q have none of %q", box.Cgroup, files)
	return ""
}

// TestUpdate: other limits hold at once for what runs.
func TestUpdate(t *testing.T) {
	requireCgroup(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	background(t, "box", "--memory", "48M", "--cpus", "1", "--pids", "16", "--", "sleep", "1000")
	limits := func() string {
		return ok(t, "ps", "--format", "{{json .MemoryLimit}} {{json .CPULimit}} {{json .PidsLimit}}")
	}
	if got := limits(); got != "50331648 1 16\n" {
		t.Errorf("limits: %s", got)
	}
	// tail(1) keeps all that it may have to print.
	const memory, many = "head -c 80M /dev/zero | tail -c 80M | wc -c", "n=0; while [ $n -lt 40 ]; do sleep 1000 >/dev/null 2>&1 & n=$((n + 1)); done; echo all"
	if out, err := cloche("exec", "box", "--", "sh", "-c", many).CombinedOutput(); err == nil {
		t.Errorf("more processes than 16: %s", out)
	}
	ok(t, "update", "--memory", "256M", "--cpus", "0.5", "--pids", "200", "box")
	if got := limits(); got != "268435456 0.5 200\n" {
		t.Errorf("limits: %s", got)
	}
	if got := setting(t, "box", "memory.max", "memory.limit_in_bytes"); got != "268435456" {
		t.Errorf("memory: %s", got)
	}
	if got := setting(t, "box", "cpu.max", "cpu.cfs_quota_us"); got != "50000 100000" && got != "50000" {
		t.Errorf("processors: %s", got)
	}
	if got := setting(t, "box", "pids.max"); got != "201" { // and pid 1
		t.Errorf("processes: %s", got)
	}
	if got := ok(t, "exec", "box", "--", "sh", "-c", many); got != "all\n" {
		t.Errorf("40 processes of 200: %q", got)
	}
	if got := ok(t, "exec", "box", "--", "sh", "-c", memory); got != "83886080\n" {
		t.Errorf("80M of 256M: %q", got)
	}
	throttled := func() int {
		for line := range strings.Lines(setting(t, "box", "cpu.stat")) {
			if n, ok := strings.CutPrefix(line, "nr_throttled "); ok {
				times, _ := strconv.Atoi(strings.TrimSpace(n))
				return times
			}
		}
		return 0
	}
	before := throttled()
	ok(t, "update", "--cpus", "0.05", "box")
	busy := cloche("exec", "box", "--", "sh", "-c", "while :; do :; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loop to be throttled", func() bool { return throttled() > before })
	_ = busy.Process.Kill()
	_ = busy.Wait()
	ok(t, "update", "--memory", "48M", "--cpus", "2", "box")
	if out, err := cloche("exec", "box", "--", "sh", "-c", memory).CombinedOutput(); err == nil && string(out) == "83886080\n" {
		t.Errorf("80M of 48M: %s", out)
	}

	// What can't be done as a whole is not done at all.
	background(t, "part", "--memory", "64M", "--", "sleep", "1000")
	if out, err := cloche("update", "--memory", "128M", "--cpus", "1", "part").CombinedOutput(); err != nil {
		if !strings.Contains(string(out), "part has no cgroup of its own that limits cpus") {
			t.Errorf("update: %s", out)
		}
		if got := setting(t, "part", "memory.max", "memory.limit_in_bytes"); got != "67108864" {
			t.Errorf("half of it is done: memory %s", got)
		}
	}
}

// TestPause: nothing in a paused sandbox runs, also no handler of a signal, until it is resumed.
func TestPause(t *testing.T) {
	requireCgroup(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	background(t, "box", "--", "sh", "-c", `trap 'echo caught' USR1; echo ready; while :; do :; done`)
	eventually(t, "its start", func() bool { return ok(t, "logs", "box") == "ready\n" })
	box, err := named.Find("box")
	if err != nil {
		t.Fatal(err)
	}
	command, err := box.Command()
	if err != nil {
		t.Fatal(err)
	}
	used := func() string { // utime and stime, proc_pid_stat(5)
		text, err := os.ReadFile("/proc/" + strconv.Itoa(command.Pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), ") ")
		return strings.Join(strings.Fields(after)[11:13], " ")
	}
	ok(t, "pause", "box")
	ok(t, "pause", "box") // once more changes nothing
	before := used()
	ok(t, "kill", "-s", "USR1", "box")
	time.Sleep(50 * time.Millisecond)
	if now := used(); now != before {
		t.Errorf("it runs while it is paused: %s, and then %s", before, now)
	}
	if got := ok(t, "logs", "box"); got != "ready\n" {
		t.Errorf("it printed %q", got)
	}
	ok(t, "resume", "box")
	ok(t, "resume", "box")
	eventually(t, "it to run on", func() bool { return used() != before })
	eventually(t, "the handler to run", func() bool { return ok(t, "logs", "box") == "ready\ncaught\n" })
	// A paused one can be ended.
	ok(t, "pause", "box")
	ok(t, "stop", "box")
	if got := ok(t, "ps", "--format", "{{.State}}"); got != "ended\n" {
		t.Errorf("ps: %s", got)
	}
}
