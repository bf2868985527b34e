package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/state"
)

// Kill is `cloche kill`: a signal to the command of each sandbox, or to all its processes.
func Kill(names []string, signal string, all bool) error {
	if len(names) == 0 {
		return errors.New("kill: name a sandbox: cloche kill [-s SIGNAL] NAME")
	}
	sig, err := signalNamed(signal)
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	return eachNamed("kill", names, func(s *named.Sandbox) error {
		command, err := s.Command()
		switch {
		case err != nil:
			return err
		case all && sig == unix.SIGKILL:
			return s.Kill()
		case all:
			return signalAll(s, sig)
		}
		return send(command, sig)
	})
}

// eachNamed does something with each sandbox; what fails for one keeps no other from it.
func eachNamed(verb string, names []string, do func(*named.Sandbox) error) error {
	failed := false
	for _, name := range names {
		s, err := named.Find(name)
		if err == nil {
			err = do(s)
		}
		if err != nil {
			complain(verb + ": " + err.Error())
			failed = true
		}
	}
	if failed {
		return &exitError{code: exitFailure}
	}
	return nil
}

// send signals a process that is the one meant, and no later one with its pid.
func send(p state.Process, sig unix.Signal) error {
	fd, err := p.Open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return fmt.Errorf("signal %s to process %d: %w", unix.SignalName(sig), p.Pid, err)
	}
	return nil
}

// signalAll signals every process of a sandbox but Cloche's own pid 1: what is in its pid
// namespace, those that joined among them.
func signalAll(s *named.Sandbox, sig unix.Signal) error {
	init, err := s.InitProcess()
	if err != nil {
		return err
	}
	command, err := s.Command()
	if err != nil {
		return err
	}
	p, err := s.Policy()
	if err != nil {
		return err
	}
	if !p.Unshare.PID {
		return errors.New("it shares the pid namespace of the host, so its processes can't be told from others; signal its command alone, or end it with `cloche stop`")
	}
	var own unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(command.Pid)+"/ns/pid", &own); err != nil {
		return fmt.Errorf("process %d: %w", command.Pid, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == init.Pid && init.Pid != command.Pid {
			continue
		}
		proc, err := state.ProcessOf(pid)
		if err != nil {
			continue
		}
		var its unix.Stat_t
		if unix.Stat("/proc/"+e.Name()+"/ns/pid", &its) != nil || its.Ino != own.Ino || its.Dev != own.Dev {
			continue
		}
		if err := send(proc, sig); err != nil && !errors.Is(err, state.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// signalNamed reads TERM, SIGTERM, 15, RTMIN+2 or SIGRTMAX-1.
func signalNamed(s string) (unix.Signal, error) {
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, err := strconv.Atoi(name); err == nil {
		if n >= 1 && n <= lastSignal {
			return unix.Signal(n), nil
		}
		return 0, fmt.Errorf("signal %s: signals are 1 to %d", clip(s), lastSignal)
	}
	// As glibc counts: 32 and 33 are its own.
	const rtMin, rtMax = 34, lastSignal
	base, offset := 0, ""
	switch {
	case strings.HasPrefix(name, "RTMIN"):
		base, offset = rtMin, name[len("RTMIN"):]
	case strings.HasPrefix(name, "RTMAX"):
		base, offset = rtMax, name[len("RTMAX"):]
	default:
		if n := unix.SignalNum("SIG" + name); n != 0 {
			return n, nil
		}
		return 0, fmt.Errorf("there is no signal %s; `kill -l` lists them", clip(s))
	}
	n := 0
	if offset != "" {
		var err error
		if n, err = strconv.Atoi(offset); err != nil {
			return 0, fmt.Errorf("there is no signal %s; write it as RTMIN+1", clip(s))
		}
	}
	if base+n < rtMin || base+n > rtMax {
		return 0, fmt.Errorf("there is no signal %s: real-time signals are %d to %d", clip(s), rtMin, rtMax)
	}
	return unix.Signal(base + n), nil
}
