package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// background starts a sandbox of a state directory of the test's own, and removes it at the end.
func background(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := cloche(append([]string{"run", "--name", name, "--detach"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	t.Cleanup(func() {
		if out, err := cloche("rm", "--force", name).CombinedOutput(); err != nil && !strings.Contains(string(out), "there is no sandbox") {
			t.Errorf("rm: %v: %s", err, out)
		}
	})
}

// ok runs cloche, which must succeed, and returns its stdout.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	cmd := cloche(args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cloche %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

// follower is a program whose output can be looked at while it runs.
type follower struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
}

func (f *follower) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(b)
}

func (f *follower) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String()
}

func followed(t *testing.T, args ...string) *follower {
	t.Helper()
	f := &follower{cmd: cloche(args...)}
	f.cmd.Stdout, f.cmd.Stderr = f, f
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cmd.Process.Kill(); _ = f.cmd.Wait() })
	return f
}

// ends waits for the program's end with status 0.
func (f *follower) ends(t *testing.T) {
	t.Helper()
	guard := time.AfterFunc(longPatience, func() { _ = f.cmd.Process.Kill() })
	defer guard.Stop()
	if err := f.cmd.Wait(); err != nil {
		t.Fatalf("%q: %v; printed %.2000q", f.cmd.Args, err, f.text())
	}
}

// longPatience is for what has much to do, on a machine that has much else to do.
const longPatience = time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(longPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// keepers are the keepers of logs of the test's state directory.
func keepers(t *testing.T) (all []int) {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, _ := os.ReadFile(dir + "/cmdline")
		if !strings.HasPrefix(string(line), "cloche\x00-keep-logs\x00stay\x00") {
			continue
		}
		env, _ := os.ReadFile(dir + "/environ")
		if strings.Contains("\x00"+string(env), "\x00"+named.DirVariable+"="+os.Getenv(named.DirVariable)+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			all = append(all, pid)
		}
	}
	return all
}

func killKeeper(t *testing.T) {
	t.Helper()
	found := keepers(t)
	if len(found) != 1 {
		t.Fatalf("%d keepers of logs, want one", len(found))
	}
	if err := unix.Kill(found[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the keeper's end", func() bool { return stateOf(found[0]) == "" || stateOf(found[0]) == "Z" })
}

// TestLogsTurn: what is written to a log that reaches its size is neither lost nor doubled for
// who follows it, and no more than two files of that size are kept.
func TestLogsTurn(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	const maxLog = 8 << 20
	// Each part is more than a file takes, and less than two.
	const first, part, parts = 1_000_000, 1_200_000, 2
	background(t, "box", "--", "sh", "-c", fmt.Sprintf(`trap 'go=1' USR1; i=0
		while [ $i -lt %d ]; do go=; seq $((%d + i * %d)) $((%d + i * %d + %d)); while [ -z "$go" ]; do sleep 0.02; done; i=$((i + 1)); done`,
		parts, first, part, first, part, part-1))
	f := followed(t, "logs", "-f", "box")
	for i := 1; i <= parts; i++ {
		// It waits until all was seen, so that nothing is pushed out that nobody has seen.
		last := fmt.Sprintf("\n%d\n", first+i*part-1)
		eventually(t, "the end of a part", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return bytes.HasSuffix(f.out.Bytes(), []byte(last))
		})
		if i == parts {
			break
		}
		ok(t, "kill", "-s", "USR1", "box")
	}
	tail := ok(t, "logs", "--tail", "3", "box")
	if want := fmt.Sprintf("%d\n%d\n%d\n", first+parts*part-3, first+parts*part-2, first+parts*part-1); tail != want {
		t.Errorf("--tail 3: %q, want %q", tail, want)
	}
	kept := ok(t, "logs", "box")
	// More lines than the newer of the files has.
	long := ok(t, "logs", "--tail", "1100000", "box")
	if !strings.HasSuffix(kept, long) || strings.Count(long, "\n") != 1_100_000 {
		t.Errorf("--tail 1100000: %d lines", strings.Count(long, "\n"))
	}
	if got := ok(t, "logs", "--tail", "0", "box"); got != "" {
		t.Errorf("--tail 0: %q", got)
	}
	dir := filepath.Join(os.Getenv(named.DirVariable), "box")
	for _, name := range []string{"out.log", "out.log.1"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > maxLog || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	ok(t, "kill", "-s", "USR1", "box")
	f.ends(t)
	var want bytes.Buffer
	for i := range parts * part {
		want.WriteString(strconv.Itoa(first + i))
		want.WriteByte('\n')
	}
	all := f.text()
	if all != want.String() {
		t.Errorf("followed: %d bytes, want %d; the first difference is at %d", len(all), want.Len(), difference(all, want.String()))
	}
	if !strings.HasSuffix(all, kept) || len(kept) <= maxLog {
		t.Errorf("kept: %d bytes, which are not the last", len(kept))
	}
}

func difference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestLogsKeeperKilled: the keeper is killed, and who follows, or looks, starts the next.
func TestLogsKeeperKilled(t *testing.T) { asRootAndUser(t, logsKeeperKilled) }

func logsKeeperKilled(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	background(t, "box", "--", "sh", "-c", `n=0; trap 'n=$((n + 1)); echo line $n; echo error $n >&2' USR1; echo ready; while :; do sleep 0.02; done`)
	f := followed(t, "logs", "--follow", "box")
	eventually(t, "the first line", func() bool { return f.text() == "ready\n" })
	for i := 1; i <= 2; i++ {
		killKeeper(t)
		ok(t, "kill", "-s", "USR1", "box")
		eventually(t, "what came after", func() bool {
			s := f.text()
			return strings.Contains(s, fmt.Sprintf("line %d\n", i)) && strings.Contains(s, fmt.Sprintf("error %d\n", i))
		})
	}
	_ = f.cmd.Process.Kill()
	killKeeper(t)
	ok(t, "kill", "-s", "USR1", "box")
	eventually(t, "what came after", func() bool { return ok(t, "logs", "box") == "ready\nline 1\nline 2\nline 3\n" })
	if n := len(keepers(t)); n != 1 {
		t.Errorf("%d keepers of logs, want one", n)
	}

	// Another sandbox in the background starts the next one for all.
	killKeeper(t)
	background(t, "other", "--", "sleep", "1000")
	ok(t, "kill", "-s", "USR1", "box")
	eventually(t, "what came after", func() bool {
		text, _ := os.ReadFile(filepath.Join(os.Getenv(named.DirVariable), "box", "out.log"))
		return strings.HasSuffix(string(text), "line 4\n")
	})
	ok(t, "rm", "--force", "box", "other")
}

// TestLogsComplete: whoever has waited for a sandbox's end finds all that it wrote.
func TestLogsComplete(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	want := strings.Builder{}
	for i := range 5000 {
		fmt.Fprintln(&want, i)
	}
	for range 4 {
		background(t, "box", "--", "seq", "0", "4999")
		f := followed(t, "logs", "-f", "box")
		ok(t, "wait", "box")
		if got := ok(t, "logs", "box"); got != want.String() {
			t.Errorf("%d bytes of %d", len(got), want.Len())
		}
		f.ends(t)
		if got := f.text(); got != want.String() {
			t.Errorf("followed: %d bytes of %d", len(got), want.Len())
		}
		ok(t, "rm", "box")
	}
}

// TestOutputOverKeepers: the limit of output holds from one keeper of logs to the next, and the log has as much.
func TestOutputOverKeepers(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	const half = "head -c 40000 /dev/zero | tr '\\0' x; "
	background(t, "box", "--max-output", "60000", "--", "sh", "-c", half+"until test -e /tmp/go; do sleep 0.01; done; "+half+"sleep 1000")
	size := func() int64 {
		info, err := os.Stat(filepath.Join(os.Getenv(named.DirVariable), "box", "out.log"))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	eventually(t, "the first half", func() bool { return size() == 40000 })
	killKeeper(t)
	ok(t, "exec", "box", "touch", "/tmp/go")
	background(t, "other", "--", "sleep", "1000")
	eventually(t, "the end", func() bool { return strings.Contains(ok(t, "ps", "--format", "{{.Name}} {{.Reason}}"), "box output\n") })
	if n := size(); n != 60000 {
		t.Errorf("the log has %d bytes", n)
	}
}
