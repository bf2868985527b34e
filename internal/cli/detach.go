package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// detachedVariable tells the program that it is to stay, as the one that was started in
// a session of its own for --detach.
const detachedVariable = "CLOCHE_DETACHED"

// takeDetached takes the variable out of the environment: it is for nobody else.
func takeDetached() bool {
	_, set := os.LookupEnv(detachedVariable)
	os.Unsetenv(detachedVariable)
	return set
}

// startPatience is how long the start of a sandbox in the background is watched.
const startPatience = 10 * time.Second

// detach starts this program once more, in a session of its own, and returns when the
// command runs there, or when it is known why it can't. The other either becomes the
// sandbox's image, so that nothing but that stays, or waits beside it where the policy
// needs that.
func (a *attempt) detach() int {
	if a.inv.name == "" {
		return fail(errors.New("--detach: a sandbox in the background needs a name to be found by; add --name NAME"))
	}
	if a.result != nil {
		return fail(errors.New("--detach and --result: nobody waits here for the result; `cloche wait` and `cloche ps --json` tell how it ended"))
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fail(err)
	}
	defer null.Close()
	p, err := os.StartProcess("/proc/self/exe", a.argv, &os.ProcAttr{
		Env: append(os.Environ(), detachedVariable+"=1"), Files: []*os.File{null, null, w}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return fail(fmt.Errorf("--detach: %w", err))
	}
	words := make([]byte, 64<<10)
	n := 0
	for n < len(words) { // until it has its own standard streams, or has ended
		m, err := r.Read(words[n:])
		n += m
		if err != nil {
			break
		}
	}
	if n > 0 {
		_, _ = os.Stderr.Write(words[:n])
	}
	return a.awaitStart(p)
}

// awaitStart looks at what was started until its command runs.
func (a *attempt) awaitStart(p *os.Process) int {
	for end := time.Now().Add(startPatience); ; time.Sleep(time.Millisecond) {
		var ws syscall.WaitStatus
		if pid, err := syscall.Wait4(p.Pid, &ws, syscall.WNOHANG, nil); err == nil && pid == p.Pid {
			if s, err := named.Find(a.inv.name); err == nil && s.Owner.Pid == p.Pid && s.Ended != nil {
				if s.Ended.Reason != string(sandbox.Setup) {
					return 0 // it began, and has ended already: `cloche wait` tells how
				}
				if s.Ended.Message != "" {
					complain(s.Ended.Message)
				}
			}
			if ws.Signaled() {
				complain("--detach: what was to stay was killed by " + unix.SignalName(ws.Signal()))
				return exitFailure
			}
			return ws.ExitStatus()
		}
		if s, err := named.Find(a.inv.name); err == nil && s.Owner.Pid == p.Pid && s.Ended == nil && (begun(s) || time.Now().After(end)) {
			return 0
		}
	}
}

// begun reports whether a sandbox's command has been executed: until then it is the
// image, which is called cloche.
func begun(s *named.Sandbox) bool {
	if s.Init.Pid != 0 {
		return true
	}
	// A program that stays beside it writes that down. What else it has started before is not the sandbox.
	if own, err := os.Stat("/proc/self/exe"); err == nil {
		its, err := os.Stat(fmt.Sprintf("/proc/%d/exe", s.Owner.Pid))
		if err == nil && os.SameFile(own, its) {
			return false
		}
	}
	command, err := s.Command()
	if err != nil {
		return false
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", command.Pid))
	return err == nil && strings.TrimSpace(string(comm)) != "cloche"
}
