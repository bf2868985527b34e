package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestExecPID joins what another program made: bubblewrap. (Docker's and Podman's are in internal/oci/engines.)
func TestExecPID(t *testing.T) { asRootAndUser(t, execPID) }

func execPID(t *testing.T) {
	requireSandbox(t)
	needs.Programs(t, "bwrap")
	cmd := exec.Command("bwrap", "--die-with-parent", "--unshare-all", "--hostname", "elsewhere", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
		"--setenv", "WORD", "kept", "--chdir", "/tmp", "--cap-drop", "ALL", "sh", "-c", "echo file >file; echo ready; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	// Its pid 1, and that one's child.
	pid := cmd.Process.Pid
	for range 2 {
		if pid = inspect.FirstChild(pid); pid == 0 {
			t.Fatal("no process inside")
		}
	}
	at := strconv.Itoa(pid)
	eventually(t, "sleep to run", func() bool {
		comm, _ := os.ReadFile("/proc/" + at + "/comm")
		return string(comm) == "sleep\n"
	})
	var want strings.Builder
	spaces := "user mnt pid net ipc uts cgroup"
	for space := range strings.FieldsSeq(spaces) {
		link, err := os.Readlink("/proc/" + at + "/ns/" + space)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&want, link)
	}
	want.WriteString("elsewhere\nkept\n/tmp\nfile\nNoNewPrivs:\t1\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n1 bwrap\n")
	got := ok(t, "exec", "--pid", at, "--", "sh", "-c", "for n in "+spaces+"; do readlink /proc/self/ns/$n; done; hostname; echo $WORD; pwd; cat file; "+
		"for f in NoNewPrivs CapEff CapBnd; do grep $f: /proc/self/status; done; echo 1 $(cat /proc/1/comm)")
	if got != want.String() {
		t.Errorf("inside:\n%s\nwant:\n%s", got, want.String())
	}
	if got := ok(t, "exec", "--pid", at, "--env", "WORD=other", "--cwd", "/", "--", "sh", "-c", "echo $WORD; pwd; touch /etc/x 2>/dev/null || echo no"); got != "other\n/\nno\n" {
		t.Errorf("--env, --cwd: %q", got)
	}
	// What is no process, or has ended.
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "its end", func() bool { return stateOf(pid) == "" })
	refused, err := cloche("exec", "--pid", at, "--", "true").CombinedOutput()
	if code := exitCode(err); code != 125 || string(refused) != "cloche: exec: process "+at+": there is none: os: process already finished\n" {
		t.Errorf("exit status %d: %q", code, refused)
	}
}

func exitCode(err error) int {
	if ee, ok := err.(*exec.ExitError); ok {
		return ee.ExitCode()
	}
	return 0
}
