package inspect_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// running starts a command in a sandbox and returns the command's pid outside.
func running(t *testing.T, p *policy.Policy) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := sandbox.Command(ctx, p, "sleep", "86421")
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return child(t, os.Getpid(), "sleep 86421")
}

func builtin(t *testing.T, name string) *policy.Policy {
	t.Helper()
	p, ok := policy.Builtin(name)
	if !ok {
		t.Fatalf("no profile %s", name)
	}
	return p
}

// TestSandboxes looks into a sandbox of each profile, and holds it against its policy.
func TestSandboxes(t *testing.T) {
	for _, name := range policy.Builtins() {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir()) // not the home, which is shown to nobody by accident
			p := builtin(t, name)
			if os.Geteuid() != 0 {
				p.Limits = policy.Limits{} // judge's need a cgroup
				p.Time.CPU = 0
			}
			pid := running(t, p)
			expanded := p.Clone()
			dir, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			if err := policy.Expand(expanded, os.Getenv("HOME"), dir); err != nil {
				t.Fatal(err)
			}
			got := mustLook(t, pid)
			for i := range got.Namespaces {
				n := &got.Namespaces[i]
				if want := p.Unshare.Has(n.Type); n.Own() != want {
					t.Errorf("%s namespace: own %v, the policy says %v: %+v", n.Type, n.Own(), want, n)
				}
			}
			if bad := got.Check(expanded); len(bad) > 0 {
				t.Errorf("against its own policy: %s", strings.Join(bad, "\n"))
			}
			if len(got.PIDs) < 2 && p.Unshare.PID {
				t.Errorf("pids %v", got.PIDs)
			}
			if !got.NoNewPrivs || p.Filtered() && got.Seccomp.Mode != "filter" {
				t.Errorf("no_new_privs %v, seccomp %v", got.NoNewPrivs, got.Seccomp)
			}
			for _, u := range got.Unread {
				t.Errorf("not known: %v: %s", u.What, u.Cause)
			}
		})
	}
}

// TestCheckFinds: a process that is confined less than a policy says is found out.
func TestCheckFinds(t *testing.T) {
	loose := builtin(t, "open")
	pid := running(t, loose)
	strict := builtin(t, "default")
	if err := policy.Expand(strict, "/home/nobody", "/srv"); err != nil {
		t.Fatal(err)
	}
	bad := strings.Join(mustLook(t, pid).Check(strict), "\n")
	for _, want := range []string{"shares the net namespace", "has no seccomp filter", "is mounted writable"} {
		if !strings.Contains(bad, want) {
			t.Errorf("nothing says %q:\n%s", want, bad)
		}
	}
}

// TestBubblewrap: what another program made.
func TestBubblewrap(t *testing.T) {
	needs.Programs(t, "bwrap")
	cmd := exec.Command("bwrap", "--die-with-parent", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--cap-drop", "ALL", "sh", "-c", "echo ready; exec sleep 86422")
	p := mustLook(t, child(t, startReady(t, cmd), "sleep 86422"))
	want := map[string]string{
		"user": "own", "mount": "own", "pid": "own", "net": "own", "ipc": "own", "uts": "own", "cgroup": "own", "time": "shared",
	}
	if d := cmp.Diff(want, sharing(p)); d != "" {
		t.Errorf("namespaces: want - got +\n%s", d)
	}
	if !p.NoNewPrivs || p.Capabilities.Permitted != 0 || p.Seccomp.Mode != "none" {
		t.Errorf("no_new_privs %v, permitted %v, seccomp %v", p.NoNewPrivs, p.Capabilities.Permitted, p.Seccomp)
	}
	var paths []string
	for _, m := range p.Writable {
		paths = append(paths, m.Path)
	}
	if !slices.Contains(paths, "/tmp") || slices.Contains(paths, "/") {
		t.Errorf("writable: %v", paths)
	}
	if want := []inspect.IDRange{{Inside: uint32(os.Getuid()), Outside: uint32(os.Getuid()), Count: 1}}; os.Getuid() != 0 && !cmp.Equal(p.UIDMap, want) {
		t.Errorf("uid map %v", p.UIDMap)
	}
}

// TestUnshare: namespaces one by one, with a map of ids.
func TestUnshare(t *testing.T) {
	needs.Programs(t, "unshare")
	for _, kind := range []string{"mount", "net", "ipc", "uts", "cgroup"} {
		p := mustLook(t, startReady(t, exec.Command("unshare", "-r", "--"+kind, "sh", "-c", "echo ready; read x")))
		want := map[string]string{
			"user": "own", "mount": "shared", "pid": "shared", "net": "shared", "ipc": "shared", "uts": "shared", "cgroup": "shared", "time": "shared",
		}
		want[kind] = "own"
		if d := cmp.Diff(want, sharing(p)); d != "" {
			t.Errorf("--%s: want - got +\n%s", kind, d)
		}
		if len(p.UIDMap) != 1 || p.UIDMap[0].Inside != 0 || p.UIDMap[0].Outside != uint32(os.Getuid()) || p.Setgroups != "deny" {
			t.Errorf("uid map %v, setgroups %s", p.UIDMap, p.Setgroups)
		}
		if p.Capabilities.Effective == 0 {
			t.Error("root of a user namespace has no capabilities")
		}
	}
}

// TestChildrensNamespace: a pid namespace that was unshared and not entered. It is told from
// its first process on.
func TestChildrensNamespace(t *testing.T) {
	needs.Programs(t, "unshare")
	p := mustLook(t, startReady(t, exec.Command("unshare", "-r", "--pid", "sh", "-c", "exec 3<&0; cat <&3 & echo ready; wait")))
	for _, n := range p.Namespaces {
		if n.Type == "pid" && (n.Own() || n.Children == 0 || n.Children == n.Inode) {
			t.Errorf("%+v", n)
		}
	}
}

// TestDumpable: a program that made itself undumpable, and one that did not.
func TestDumpable(t *testing.T) {
	program := compile(t, "undumpable.c")
	for arg, want := range map[string]inspect.Answer{"0": inspect.No, "1": inspect.Yes} {
		p := mustLook(t, startReady(t, exec.Command(program, arg)))
		if p.Dumpable != want && p.Dumpable != inspect.Unknown || p.Dumpable == inspect.Unknown && os.Geteuid() != 0 {
			t.Errorf("PR_SET_DUMPABLE %s: %s", arg, p.Dumpable)
		}
		if os.Geteuid() == 0 || arg == "1" {
			continue
		}
		// Its files in /proc belong to root: the user is told so, and of what.
		if len(p.Unread) == 0 || !strings.Contains(p.Unread[0].Cause, "not dumpable") || p.Unread[0].Remedy == "" || p.Files != -1 {
			t.Errorf("unread: %+v", p.Unread)
		}
	}
}

// TestAnotherUsers: an ordinary user is told what of root's process it may not see, and
// all that everybody may see.
func TestAnotherUsers(t *testing.T) {
	if os.Geteuid() == 0 {
		needs.Elsewhere(t, "needs an ordinary user: root sees all")
	}
	p := mustLook(t, 1)
	what := ""
	for _, u := range p.Unread {
		what += strings.Join(u.What, ", ") + "\n"
		if u.Cause == "" || u.Remedy == "" {
			t.Errorf("%v: cause %q, remedy %q", u.What, u.Cause, u.Remedy)
		}
	}
	for _, want := range []string{"its namespaces", "its open descriptors", "its executable"} {
		if !strings.Contains(what, want) {
			t.Errorf("nothing says that %s can't be seen: %s", want, what)
		}
	}
	if p.Name == "" || len(p.Cgroups) == 0 || p.Capabilities.Bounding == 0 || len(p.Threads) == 0 {
		t.Errorf("%+v", p)
	}
}

// TestNotThere: a pid of nobody, one that was used again, and a zombie.
func TestNotThere(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err := inspect.Look(cmd.Process.Pid, 0)
		if err != nil && strings.Contains(err.Error(), "has not waited for it") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a zombie: %v", err)
		}
	}
	_ = cmd.Wait()
	for pid, want := range map[int]string{cmd.Process.Pid: "there is no process", 0: "no pid", -1: "no pid"} {
		if _, err := inspect.Look(pid, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pid %d: %v", pid, err)
		}
	}
	if _, err := inspect.Look(os.Getpid(), 12345); err == nil || !strings.Contains(err.Error(), "used again") {
		t.Errorf("another start time: %v", err)
	}
}

// TestSelf compares with what this process knows of itself.
func TestSelf(t *testing.T) {
	p := mustLook(t, os.Getpid())
	if p.UIDs[1] != uint32(os.Geteuid()) || p.Parent != os.Getppid() || p.Command[0] != os.Args[0] {
		t.Errorf("uids %v, parent %d, command %v", p.UIDs, p.Parent, p.Command)
	}
	for i := range p.Namespaces {
		if n := &p.Namespaces[i]; n.Caller != inspect.Yes {
			t.Errorf("%s: %+v", n.Type, n)
		}
	}
	if now := time.Now(); p.Started.After(now) || now.Sub(p.Started) > time.Hour {
		t.Errorf("started %v", p.Started)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil || p.Files < len(fds)-2 {
		t.Errorf("%d descriptors, /proc/self/fd has %s", p.Files, strconv.Itoa(len(fds)))
	}
}
