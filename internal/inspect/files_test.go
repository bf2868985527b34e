package inspect_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestFilesThatLeadOut hands descriptors to a process in namespaces of its own, and looks
// at what is said of each.
func TestFilesThatLeadOut(t *testing.T) {
	needs.Programs(t, "unshare")
	open := func(f *os.File, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours := open(os.NewFile(uintptr(pair[1]), "pair"), nil)
	_ = ours
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := unix.MemfdCreate("shared", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-r", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", "echo ready; read x")
	cmd.ExtraFiles = []*os.File{ // from 3 on
		open(os.Open("/etc")),
		open(os.Open("/etc/hostname")),
		open(listener.(*net.TCPListener).File()),
		open(os.NewFile(uintptr(pair[0]), "pair"), nil),
		open(os.Open("/proc/self/ns/net")),
		open(os.NewFile(uintptr(pidfd), "pidfd"), nil),
		open(os.NewFile(uintptr(memory), "memfd"), nil),
		open(os.NewFile(uintptr(poll), "epoll"), nil),
		open(os.Open("/dev/null")),
	}
	p := mustLook(t, child(t, startReady(t, cmd), "sh -c echo ready; read x"))
	got := map[int]string{}
	for _, f := range p.Outward {
		got[f.FD] = fmt.Sprintf("%s %s: %s", f.Out, f.Kind, f.Why)
	}
	for fd, want := range map[int]string{
		0:  "unknown pipe: its other end may be outside",
		3:  "yes directory: it lies in a mount that the process does not have; all that is below it can be reached",
		4:  "yes file: it lies in a mount that the process does not have",
		5:  "AF_INET",
		6:  "yes socket: AF_UNIX, connected to or made by pid " + fmt.Sprint(os.Getpid()),
		7:  "yes namespace: another namespace",
		8:  "yes process: it stands for pid " + fmt.Sprint(os.Getpid()),
		9:  "unknown memory",
		11: "yes device: it lies in a mount",
	} {
		if !strings.Contains(got[fd], want) {
			t.Errorf("fd %d: %q, not %q", fd, got[fd], want)
		}
	}
	if s, ok := got[10]; ok {
		t.Errorf("an epoll descriptor leads out: %s", s)
	}
	if os.Geteuid() == 0 && !strings.Contains(got[5], "yes socket: AF_INET of another network namespace") {
		t.Errorf("fd 5: %q", got[5])
	}
}

// TestOwnFilesStayIn: what a process opened itself inside is not listed.
func TestOwnFilesStayIn(t *testing.T) {
	needs.Programs(t, "unshare")
	p := mustLook(t, startReady(t, exec.Command("unshare", "-r", "--mount", "sh", "-c", "exec 8</etc/hostname 9</etc; echo ready; read x")))
	for _, f := range p.Outward {
		if f.FD == 8 || f.FD == 9 {
			t.Errorf("%+v", f)
		}
	}
}

// TestOutsideOfRoot: a chroot keeps its mounts, and a directory above it leads out.
func TestOutsideOfRoot(t *testing.T) {
	needs.Root(t, "chroot(2) is for root")
	needs.Programs(t, "bwrap", "chroot")
	// Of bubblewrap's tree, in which /usr is the system's, the shell sees what is in /jail.
	const inner = `exec 7</ && exec chroot /jail /usr/bin/sh -c 'exec 8</usr; echo ready; read x'`
	cmd := exec.Command("bwrap", "--die-with-parent", "--tmpfs", "/", "--dir", "/jail", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
		"--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--ro-bind", "/usr", "/jail/usr", "--symlink", "usr/lib", "/jail/lib", "--symlink", "usr/lib64", "/jail/lib64", "sh", "-c", inner)
	pid := startReady(t, cmd)
	p := mustLook(t, child(t, pid, "/usr/bin/sh -c exec 8</usr; echo ready; read x"))
	if p.Root != "/jail" {
		t.Fatalf("its root is %s", p.Root)
	}
	out := map[int]inspect.Answer{}
	for _, f := range p.Outward {
		out[f.FD] = f.Out
	}
	if out[7] != inspect.Yes || out[8] != "" {
		t.Errorf("fd 7 leads out: %q; fd 8: %q; %+v", out[7], out[8], p.Outward)
	}
}
