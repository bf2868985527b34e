package inspect_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestMain runs the tests as who runs it and, if that is root, again as an ordinary user.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && os.Geteuid() == 0 {
		code = needs.OrdinaryUser()
	}
	os.Exit(code)
}

// startReady starts a program that prints a line with "ready" when it is, and ends it with
// the test.
func startReady(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr, cmd.WaitDelay = &stderr, time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "ready") {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		t.Fatalf("%v: %q, %v: %s", cmd, line, err, stderr.String())
	}
	return cmd.Process.Pid
}

// compile makes a program of testdata.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	needs.Programs(t, "gcc")
	text, err := sources.ReadFile("testdata/" + source)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, program := filepath.Join(dir, source), filepath.Join(dir, "program")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	gcc := exec.Command("gcc", append([]string{"-o", program, file}, flags...)...)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// child waits until pid has a descendant whose command line holds words, and finds it.
func child(t *testing.T, pid int, words string) int {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		roots, err := inspect.Tree(pid, 0)
		if err != nil {
			continue
		}
		found := 0
		var walk func(n *inspect.Node)
		walk = func(n *inspect.Node) {
			// Not a fork of it, and not what becomes it and has its arguments already.
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", n.PID))
			if found == 0 && n.PID != pid && strings.Join(n.Command, " ") == words && err == nil && !strings.HasPrefix(exe, "/memfd:") {
				found = n.PID
			}
			for _, c := range n.Children {
				walk(c)
			}
		}
		for _, r := range roots {
			walk(r)
		}
		if found != 0 {
			return found
		}
	}
	t.Fatalf("%d has no descendant %q", pid, words)
	return 0
}

func mustLook(t *testing.T, pid int) *inspect.Process {
	t.Helper()
	p, err := inspect.Look(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sharing is what p's namespaces are, such as "user:own mount:shared".
func sharing(p *inspect.Process) map[string]string {
	all := map[string]string{}
	for i := range p.Namespaces {
		n := &p.Namespaces[i]
		switch {
		case n.Own():
			all[n.Type] = "own"
		case n.Caller == inspect.Yes:
			all[n.Type] = "shared"
		default:
			all[n.Type] = fmt.Sprintf("init %s, caller %s", n.Init, n.Caller)
		}
	}
	return all
}
