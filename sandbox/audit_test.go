package sandbox_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// tries makes calls that the default profile denies, and prints what came of them.
const tries = `
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
for i in range(3):
    try:
        socket.socket(38, socket.SOCK_SEQPACKET)
        print("AF_ALG")
    except OSError as e:
        print(e.errno)
print(libc.unshare(0x10000000), ctypes.get_errno())
print(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None), ctypes.get_errno())
`

// TestAuditDenies: with an audit a program sees what it sees without, and each
// kind is listed once.
func TestAuditDenies(t *testing.T) {
	needs.Programs(t, "python3")
	want := output(t, defaults(t), "python3", "-c", tries)
	if want != "97\n97\n97\n-1 1\n-1 1\n" {
		t.Fatalf("without an audit: %q", want)
	}
	c := command(t, defaults(t), "python3", "-c", tries)
	c.Audit = true
	before := takeCensus(t)
	out, err := c.CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	settled(t, before)
	for _, w := range []struct {
		call, action, group string
		count               int
	}{
		{"socket(AF_ALG, ", "EAFNOSUPPORT", "@network", 3},
		{"unshare(CLONE_NEWUSER)", "EPERM", "", 1},
		{"mount(", "EPERM", "", 1},
	} {
		found := false
		for _, d := range c.Result().Denied {
			if strings.HasPrefix(d.Call, w.call) {
				found = true
				if d.Action != w.action || d.Group != w.group || d.Count != w.count || d.Program != "python3" || d.PID == 0 || d.Reason == "" {
					t.Errorf("%+v, want %+v", d, w)
				}
			}
		}
		if !found {
			t.Errorf("%s is not among %+v", w.call, c.Result().Denied)
		}
	}
}

// TestAuditKills: what kills without an audit kills with it, and the result says
// the same.
func TestAuditKills(t *testing.T) {
	for _, audit := range []bool{false, true} {
		p := with(t, defaults(t), "seccomp", "strict")
		c := command(t, p, "mkdir", "/tmp/x")
		c.Audit = audit
		err := c.Run()
		var ee *sandbox.ExitError
		if !errors.As(err, &ee) || ee.Reason != sandbox.Syscall || ee.Signal != syscall.SIGSYS || ee.ExitCode != 159 {
			t.Errorf("audit %v: %v %+v", audit, err, c.Result())
			continue
		}
		if d := ee.Denied; audit != (len(d) > 0 && d[len(d)-1].Action == "kill-process") {
			t.Errorf("audit %v: denied %+v", audit, d)
		}
	}
}

// TestAuditWithNotify: the kernel has one listener for a thread.
func TestAuditWithNotify(t *testing.T) {
	c := command(t, defaults(t), "true")
	c.Audit, c.Notify = true, &sandbox.Notify{}
	if err := c.Run(); err == nil || !strings.Contains(err.Error(), "one listener") {
		t.Errorf("%v", err)
	}
}

// TestAuditLogAndTrap: what a filter only logs goes on and is reported, and a trap
// is reported and arrives as SIGSYS. Neither takes a look at the kernel's log.
func TestAuditLogAndTrap(t *testing.T) {
	needs.Programs(t, "python3")
	p := defaults(t)
	rule := func(action seccomp.Action, call string) seccomp.Group {
		return seccomp.Group{Name: "@" + call, Reason: "a test", Rules: []seccomp.Rule{{Syscalls: []string{call}, Action: action}}}
	}
	p.SeccompGroups = []seccomp.Group{rule(seccomp.Log, "getpgid"), rule(seccomp.Trap, "getpriority")}
	c := command(t, p, "python3", "-c", `
import os, signal
signal.signal(signal.SIGSYS, lambda *_: print("SIGSYS", flush=True))
print(os.getpgid(0) >= 0, flush=True)
try: os.getpriority(os.PRIO_PROCESS, 0)
except OSError: pass
for _ in range(3): len("")  # where Python runs its handlers
`)
	c.Audit = true
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "True\nSIGSYS\n" {
		t.Errorf("%q, %v", out, err)
	}
	got := map[string]string{}
	for _, d := range c.Result().Denied {
		got[d.Group] = d.Action
	}
	if got["@getpgid"] != "log" || got["@getpriority"] != "trap" {
		t.Errorf("reported: %+v", c.Result().Denied)
	}
}
