package oci

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/seccomp"
)

func denying(names ...string) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActErrno}}}
}

// TestFilter: the filter holds in run, after create and start, and in exec, with and
// without no_new_privs.
func TestFilter(t *testing.T) {
	r := newRuntime(t)
	for name, nnp := range map[string]bool{"no_new_privs": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			b := bundle(t, func(s *specs.Spec) {
				s.Root.Readonly = false
				s.Process.NoNewPrivileges = nnp
				s.Linux.Seccomp = denying("mkdir", "mkdirat")
			})
			r.ok("run", "--detach", "--bundle", b, "cloche-filter")
			out, status := r.do("exec", "cloche-filter", "sh", "-c", "grep -E '^(NoNew|Seccomp:|CapEff)' /proc/1/status /proc/self/status; mkdir /x")
			if status == 0 || !strings.Contains(out, "/proc/1/status:Seccomp:\t2") || !strings.Contains(out, "/proc/self/status:Seccomp:\t2") || !strings.Contains(out, "Operation not permitted") {
				t.Errorf("exit %d: %s", status, out)
			}
			if strings.Count(out, "CapEff:\t0000000020000420") != 2 {
				t.Errorf("capabilities: %s", out)
			}
			r.ok("delete", "--force", "cloche-filter")
		})
	}
}

// TestListener: an agent gets the listener and the container's state, and answers.
func TestListener(t *testing.T) {
	r := newRuntime(t)
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan specs.ContainerProcessState, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		text, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
		n, oobn, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(text, oob)
		if err != nil {
			return
		}
		var s specs.ContainerProcessState
		_ = json.Unmarshal(text[:n], &s)
		messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
		fds, _ := unix.ParseUnixRights(&messages[0])
		got <- s
		listener, err := seccomp.NewListener(fds[0])
		if err != nil {
			return
		}
		defer listener.Close()
		for {
			n, err := listener.Receive()
			if err != nil {
				return
			}
			_ = listener.Respond(n.ID, seccomp.Response{Errno: unix.EDQUOT})
		}
	}()
	filter := denying("mkdir", "mkdirat")
	filter.Syscalls[0].Action = specs.ActNotify
	filter.ListenerPath, filter.ListenerMetadata = socket, "meta"
	out, _ := r.do("run", "--bundle", bundle(t, func(s *specs.Spec) {
		s.Root.Readonly = false
		s.Process.Args = []string{"mkdir", "/x"}
		s.Linux.Seccomp = filter
	}), "cloche-listener")
	if !strings.Contains(out, "uota") {
		t.Errorf("the agent's answer is not there: %s", out)
	}
	select {
	case s := <-got:
		if s.Metadata != "meta" || len(s.Fds) != 1 || s.Fds[0] != specs.SeccompFdName || s.Pid == 0 || s.State.ID != "cloche-listener" || s.State.Status != "creating" {
			t.Errorf("the agent got %+v", s)
		}
	default:
		t.Error("the agent got nothing")
	}
	filter.Syscalls[0].Names = []string{"sendmsg"}
	r.refused(1, "SCMP_ACT_NOTIFY cannot be used for the sendmsg syscall", "run", "--bundle", bundle(t, func(s *specs.Spec) { s.Linux.Seccomp = filter }), "cloche-listener")
}

// TestFilterCache: a filter is compiled once, and nothing is taken from the cache that
// could be somebody else's, or is not whole.
func TestFilterCache(t *testing.T) {
	facts, err := host.Quick()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	raw, err := json.Marshal(denying("mkdir"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := cachedProgram(root, raw, &facts)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, cacheDir)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the cache has %v: %v", entries, err)
	}
	name := entries[0].Name()
	file := filepath.Join(dir, name)
	if p := readProgram(dir, name); p == nil || len(p.code) != len(first.code) || p.code[1] != first.code[1] {
		t.Fatalf("read back: %v", p)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(what string, f func()) {
		t.Helper()
		f()
		if readProgram(dir, name) != nil {
			t.Errorf("%s: it was taken", what)
		}
		_ = os.Remove(file)
		_ = os.Chmod(dir, 0o700)
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spoil("one bit", func() {
		b := append([]byte(nil), whole...)
		b[len(b)-1] ^= 1
		_ = os.WriteFile(file, b, 0o600)
	})
	spoil("cut", func() { _ = os.Truncate(file, int64(len(whole)-8)) })
	spoil("empty", func() { _ = os.Truncate(file, 0) })
	spoil("writable for others", func() { _ = os.Chmod(file, 0o666) })
	spoil("in a directory for all", func() { _ = os.Chmod(dir, 0o777) })
	spoil("a link", func() { _ = os.Rename(file, file+"2"); _ = os.Symlink(file+"2", file) })
	spoil("a FIFO", func() { _ = os.Remove(file); _ = unix.Mkfifo(file, 0o600) })
	spoil("another's name", func() { _ = os.Rename(file, filepath.Join(dir, strings.Repeat("0", len(name)))) })
	if os.Geteuid() == 0 {
		spoil("another's", func() { _ = os.Chown(file, 1, 1) })
	}
}

// TestDeleteDuringCreate: delete --force of a container that is being made ends with
// nothing left, whichever of the two was faster.
func TestDeleteDuringCreate(t *testing.T) {
	r := newRuntime(t)
	b := bundle(t, func(s *specs.Spec) {
		// Somebody who takes his time.
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "0.3"}}}}
	})
	for i := range 6 {
		id := "cloche-during"
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.do("create", "--bundle", b, id)
		}()
		time.Sleep(time.Duration(i*20) * time.Millisecond)
		r.ok("delete", "--force", id)
		<-done
		r.ok("delete", "--force", id) // where create began after the first
		if rest := left(t, id, b); len(rest) > 0 {
			t.Errorf("%q is left", rest)
		}
	}
}
