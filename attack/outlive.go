package attack

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What is left when the command has ended goes on at the user's cost, and waits for the
// next run. The end of pid 1 is the end of everything in its pid namespace, whatever a
// process ignores, and whoever is its parent or reaper.

var (
	daemonOutlives = outliving("daemon-outlives", "daemon(7), pid_namespaces(7)", "leave a daemon behind, in a session of its own", "daemon")
	deathSignal    = outliving("death-signal-cleared", "PR_SET_PDEATHSIG(2const)", "leave a process behind that took its death signal back", "death-signal")
	ownReaper      = outliving("reaper-outlives", "PR_SET_CHILD_SUBREAPER(2const)", "leave processes behind whose reaper is one of them", "reaper")
	forkStorm      = outliving("fork-storm-outlives", "fork(2), pid_namespaces(7)", "leave processes behind that fork faster than they are found", "fork")
	signalStorm    = outliving("signal-storm-outlives", "kill(2), pid_namespaces(7)", "leave processes behind that stop, wake and signal each other during the end", "signal")
)

func outliving(name, reference, tries, way string) Attack {
	return Attack{
		Name: name, Group: "signals", Reference: reference, Tries: tries,
		Stops: []Stop{{PIDNamespace, Unharmed}},
		Door:  []string{"pids none"}, // a cgroup would tell of what is left
		Outside: func(o *Outside) error {
			o.Tell("way", way)
			o.Tell("mark", o.Secret)
			o.Defer(func() { o.endLeft() })
			return nil
		},
		Inside: func(in *Inside) error {
			for range 3 {
				cmd := exec.Command("/proc/self/exe", Arg, leftRole, in.Arg("way"), in.Arg("mark"))
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				if err := cmd.Start(); err != nil {
					return Failed(err)
				}
			}
			time.Sleep(100 * time.Millisecond) // they are in the middle of it
			return nil
		},
		Escaped: func(o *Outside) bool {
			time.Sleep(100 * time.Millisecond)
			return len(o.left()) > 0
		},
	}
}

// left are the processes outside whose arguments hold the secret.
func (o *Outside) left() (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		b, _ := os.ReadFile(name)
		if !bytes.Contains(b, []byte(Arg+"\x00"+leftRole)) || !bytes.Contains(b, []byte(o.Secret)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endLeft ends what is left where nothing else did.
func (o *Outside) endLeft() {
	for range 200 {
		pids := o.left()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGSTOP) // it must not fork meanwhile
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}

// outliveFor is how long what is left behind stays, where nobody ends it.
const outliveFor = 20 * time.Second

// leftBehind is the main of a process that stays. It ends by itself after a while.
func leftBehind(args []string) int {
	if len(args) != 2 {
		return 2
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT)
	until := time.Now().Add(outliveFor)
	child := func() {
		cmd := exec.Command("/proc/self/exe", Arg, leftRole, "daemon", args[1])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if cmd.Start() == nil {
			go func() { _ = cmd.Wait() }()
		}
	}
	switch args[0] {
	case "death-signal":
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	case "reaper":
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		child()
	case "fork":
		// Each of these is gone when its pid is looked at: the next one goes on.
		for time.Now().Before(until) {
			cmd := exec.Command("/proc/self/exe", Arg, leftRole, "once", args[1])
			_ = cmd.Run()
		}
		return 0
	case "once":
		return 0
	case "signal":
		child()
		for time.Now().Before(until) {
			// To everything of this session's alone: outside of a sandbox, -1 is everybody.
			_ = unix.Kill(0, unix.SIGCONT)
			_ = unix.Kill(0, unix.SIGWINCH)
		}
		return 0
	}
	time.Sleep(time.Until(until))
	return 0
}
