package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

const (
	// machineVariable tells the test program that it is pid 1 of a machine; its value is
	// the folder of the machine.
	machineVariable = "CLOCHE_ENGINES_MACHINE"
	// nameVariable has the machine's host name.
	nameVariable = "CLOCHE_ENGINES_NAME"
	// cgroupVariable has the name of its cgroups; it is unset once they are entered.
	cgroupVariable = "CLOCHE_ENGINES_CGROUP"
	// enginesPath comes before what else a machine may have of these programs.
	enginesPath = "/usr/sbin:/usr/bin:/sbin:/bin"
	linkPrefix  = "clo"
)

// machine is where an engine runs: namespaces with a process of the tests' as pid 1, which
// takes everything in them along when it ends.
type machine struct {
	t      testing.TB
	name   string
	dir    string // on a disk, writable; for the data of engines
	pid    int    // of its pid 1, as the host counts
	cgroup string // the name of its cgroups, below the tests' own
	env    []string

	before []string // what was there before the runtime was at work, see settled
	end    sync.Once
	init   *exec.Cmd
	alive  io.Closer
}

var machines struct {
	sync.Mutex
	n int
}

func cgroupPrefix() string { return fmt.Sprintf("cloche-engines-%d-", os.Getpid()) }

// needsMachine skips a test where no machine can be made.
func needsMachine(t testing.TB) {
	t.Helper()
	needs.Long(t, "it starts daemons")
	needs.Root(t, "for namespaces of the engine's own")
}

// newMachine starts a machine that is gone when the test is.
func newMachine(t testing.TB, name string) *machine {
	t.Helper()
	needsMachine(t)
	machines.Lock()
	machines.n++
	n := machines.n
	machines.Unlock()
	m := &machine{t: t, name: name, dir: filepath.Join(base, fmt.Sprintf("%d-%s", n, name)), cgroup: cgroupPrefix() + strconv.Itoa(n)}
	for _, d := range []string{"", "tmp", "home"} {
		if err := os.Mkdir(filepath.Join(m.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.env = []string{"PATH=" + enginesPath, "HOME=" + m.dir + "/home", "TMPDIR=" + m.dir + "/tmp", "LC_ALL=C.UTF-8", "TERM=xterm"}
	m.init = exec.Command("/proc/self/exe")
	m.init.Env = append(slices.Clone(m.env), machineVariable+"="+m.dir, nameVariable+"="+name, cgroupVariable+"="+m.cgroup, runtimeVariable+"="+ociRuntime)
	m.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	var words bytes.Buffer
	m.init.Stderr = &words
	alive, err := m.init.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, err := m.init.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.init.Start(); err != nil {
		t.Fatal(err)
	}
	m.alive, m.pid = alive, m.init.Process.Pid
	t.Cleanup(m.stop)
	if line, _ := io.ReadAll(io.LimitReader(ready, 6)); string(line) != "ready\n" {
		_ = m.init.Wait()
		t.Fatalf("no machine can be made: %s", words.String())
	}
	return m
}

// stop ends every process of the machine and takes away what it had.
func (m *machine) stop() {
	m.end.Do(func() {
		m.alive.Close()
		_ = m.init.Process.Kill()
		_ = m.init.Wait()
		var err error
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			err = errors.Join(removeCgroups(m.cgroup), os.RemoveAll(m.dir))
			if err == nil || time.Now().After(deadline) {
				break
			}
		}
		if err != nil {
			m.t.Error(err)
		}
	})
}

// command is a command in the machine: in its namespaces, and its cgroups. Only a process
// of one thread may do that, so it is a shell and nsenter(1).
func (m *machine) command(ctx context.Context, argv ...string) *exec.Cmd {
	var script strings.Builder
	for _, h := range hierarchies() {
		fmt.Fprintf(&script, "echo 0 > %s/%s/%s && ", h.own(), m.cgroup, h.entry())
	}
	fmt.Fprintf(&script, `exec nsenter --target %d --mount --uts --ipc --net --pid --cgroup --wdns=%s -- "$@"`, m.pid, m.dir)
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", script.String(), "sh"}, argv...)...)
	cmd.Env = m.env
	cmd.WaitDelay = 5 * time.Second // a daemon that it started may keep its output open
	return cmd
}

// enough is the time that any single command of these tests has.
const enough = 2 * time.Minute

// try runs a command and returns what it wrote to both outputs.
func (m *machine) try(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), enough)
	defer cancel()
	out, err := m.command(ctx, argv...).CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %v", enough)
	}
	return strings.TrimSpace(string(out)), err
}

// run is a command that must succeed, and what it wrote to its standard output.
func (m *machine) run(t testing.TB, argv ...string) string {
	t.Helper()
	return m.feed(t, "", argv...)
}

// feed is run with a standard input.
func (m *machine) feed(t testing.TB, input string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), enough)
	defer cancel()
	cmd := m.command(ctx, argv...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s, after %v: %v\n%s%s", strings.Join(argv, " "), time.Since(began).Round(time.Millisecond), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// daemon starts a process that stays, with what it says in a file, which is shown when the
// test failed.
func (m *machine) daemon(t testing.TB, argv ...string) *daemon {
	t.Helper()
	d := &daemon{m: m, log: filepath.Join(m.dir, filepath.Base(argv[0])+".log"), argv: argv}
	d.start(t)
	return d
}

type daemon struct {
	m    *machine
	log  string
	argv []string
	cmd  *exec.Cmd
}

func (d *daemon) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.cmd = d.m.command(context.Background(), d.argv...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := d.cmd
	d.m.t.Cleanup(func() {
		if d.m.t.Failed() && d.cmd == cmd {
			d.m.t.Logf("%s said at the end:\n%s", d.argv[0], d.said(15))
		}
		d.m.stop()
		_ = cmd.Wait()
	})
}

// said are the last lines of what a daemon said, but for mere information.
func (d *daemon) said(lines int) string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	all := slices.DeleteFunc(strings.SplitAfter(string(text), "\n"), func(line string) bool { return strings.Contains(line, "level=info") })
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// end sends a signal to the daemon itself, and waits until it is gone.
func (d *daemon) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatalf("%s is not there any more: %s", d.argv[0], d.said(20))
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = d.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not end on signal %v", d.argv[0], sig)
	}
}

// eventually waits until a condition holds; it returns what is wrong while it does not.
func eventually(t testing.TB, within time.Duration, wrong func() string) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		w := wrong()
		if w == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %s", within, w)
		}
	}
}

// machineMain is pid 1 of a machine. It reaps what is left to it, until the tests are gone.
func machineMain() {
	ociRuntime = os.Getenv(runtimeVariable)
	if name := os.Getenv(cgroupVariable); name != "" {
		runtime.LockOSThread()
		err := enterCgroups(name)
		if err == nil {
			err = unix.Unshare(unix.CLONE_NEWCGROUP)
		}
		if err == nil {
			// A cgroup namespace belongs to a thread, and exec keeps this one alone.
			os.Unsetenv(cgroupVariable)
			err = unix.Exec("/proc/self/exe", os.Args, os.Environ())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := furnish(os.Getenv(machineVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	fmt.Println("ready")
	for range died {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 && !errors.Is(err, syscall.EINTR) {
				break
			}
		}
	}
}

// hostIP is ip(8) in a machine's network, with the pids of the host.
func hostIP(t testing.TB, pid int, args ...string) {
	t.Helper()
	if out, err := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(pid), "--net", "ip"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
