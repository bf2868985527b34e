package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

const fullVariable = "CLOCHE_TEST_FULL_DISK"

// TestFullDisk: there is no room for the records and logs of sandboxes. Each command says so, nothing
// is left half-written, and what can be done without room is done.
func TestFullDisk(t *testing.T) { asRootAndUser(t, fullDisk) }

func fullDisk(t *testing.T) {
	requireSandbox(t)
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestOnFullDisk$")
	cmd.Env = append(os.Environ(), fullVariable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		// It stays the user that it is, and may mount.
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		needs.Skip(t, "needs namespaces to mount in: "+err.Error())
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestOnFullDisk") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestOnFullDisk is the test itself, in a mount namespace of its own.
func TestOnFullDisk(t *testing.T) {
	disk := needs.Child(t, fullVariable, "TestFullDisk")
	for _, err := range []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("none", disk, "tmpfs", 0, "size=128k,mode=0700"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	state := disk + "/st"
	t.Setenv(named.DirVariable, state)
	filler := disk + "/filler"
	fill := func() {
		t.Helper()
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
	room := func() {
		t.Helper()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	// fails runs cloche, which must fail with one line that says why.
	fails := func(want string, args ...string) {
		t.Helper()
		out, err := cloche(args...).CombinedOutput()
		var ee *exec.ExitError
		if !errors.As(err, &ee) || ee.ExitCode() != 125 || string(out) != want {
			t.Errorf("%q: %v: %q, want %q", args, err, out, want)
		}
	}
	left := func() string {
		entries, err := os.ReadDir(state)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			files, _ := filepath.Glob(filepath.Join(state, e.Name(), ".*"))
			names = append(append(names, e.Name()), files...)
		}
		return strings.Join(names, " ")
	}
	states := func() string { return ok(t, "ps", "--format", "{{.Name}} {{.State}} {{.Reason}} {{json .ExitCode}}") }

	ok(t, "run", "--name", "old", "--", "true")
	// Nothing can be started, and what there was is as it was.
	fill()
	for _, name := range []string{"new", "old"} {
		for _, how := range [][]string{nil, {"--detach"}} {
			fails("cloche: --name: state: write "+state+"/"+name+"/policy.json: no space left on device: make room there\n",
				append(append([]string{"run", "--name", name}, how...), "--", "echo", "it runs")...)
		}
	}
	if got := left(); got != "old" {
		t.Errorf("left: %s", got)
	}
	if got := states(); got != "old ended exited 0\n" {
		t.Errorf("ps: %s", got)
	}
	ok(t, "run", "--", "true") // without a name nothing is written
	ok(t, "rm", "old")
	room()

	// One that runs meanwhile can be used and ended; that its end can't be written down is said.
	script := `trap 'exit 5' USR1; trap 'i=2000; while [ $i -lt 7000 ]; do echo $i; i=$((i + 1)); done; echo told >&2; : >/tmp/written' USR2; echo ready; while :; do sleep 0.02; done`
	beside := cloche("run", "--name", "beside", "--", "sh", "-c", script)
	said := &follower{cmd: beside}
	beside.Stdout, beside.Stderr = said, said
	if err := beside.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beside.Process.Kill() }()
	ok(t, "run", "--name", "back", "--detach", "--", "sh", "-c", script)
	eventually(t, "both to run", func() bool {
		log, _ := os.ReadFile(state + "/back/out.log")
		box, err := named.Find("beside")
		return said.text() == "ready\n" && string(log) == "ready\n" && err == nil && box.Init.Pid != 0 // what it writes last of its start
	})
	fill()
	if got := states(); got != "back running  null\nbeside running  null\n" {
		t.Errorf("ps: %s", got)
	}
	if got := ok(t, "exec", "back", "--", "echo", "joined"); got != "joined\n" {
		t.Errorf("exec: %q", got)
	}
	// It writes more than its log has room for, and goes on.
	ok(t, "kill", "-s", "USR2", "back")
	ok(t, "exec", "back", "--", "sh", "-c", "until rm /tmp/written 2>/dev/null; do sleep 0.02; done")
	ok(t, "kill", "-s", "USR1", "beside")
	_ = beside.Wait()
	if code := beside.ProcessState.ExitCode(); code != 5 || said.text() != "ready\ncloche: the record of beside: state: write "+state+"/beside/sandbox.json: no space left on device: make room there\n" {
		t.Errorf("exit status %d: %q", code, said.text())
	}
	out, err := cloche("ps", "--format", "{{.Name}} {{.State}}").CombinedOutput()
	if want := "cloche: beside: state: write " + state + "/beside/sandbox.json: no space left on device: make room there\n"; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("ps: %v: %q, want %q", err, out, want)
	}
	room()

	// With room again, what is written goes on where it was, and says what is missing.
	ok(t, "kill", "-s", "USR2", "back")
	var log string
	eventually(t, "the log", func() bool {
		log = ok(t, "logs", "back")
		return strings.HasSuffix(log, "\n6999\n")
	})
	note := regexp.MustCompile("\ncloche: ([0-9]+) bytes of output are missing here: no space left on device\n")
	written, missing := note.ReplaceAllString(log, ""), 0
	for _, m := range note.FindAllStringSubmatch(log, -1) {
		n, _ := strconv.Atoi(m[1])
		missing += n
	}
	if all := len("ready\n") + 2*5000*len("2000\n"); !strings.HasPrefix(log, "ready\n2000\n") || missing == 0 || len(written)+missing != all {
		t.Errorf("%d bytes are in the log and %d are said to be missing, of %d", len(written), missing, all)
	}
	out, err = cloche("ps", "--format", "{{.Name}} {{.State}}").CombinedOutput()
	if !strings.HasPrefix(string(out), "cloche: beside: it has ended without a word") || !strings.HasSuffix(string(out), "back running\nbeside ended\n") || err != nil {
		t.Errorf("ps: %v: %q", err, out)
	}
	ok(t, "rm", "--force", "back", "beside")
	if got := left(); got != "" {
		t.Errorf("left: %s", got)
	}
}
