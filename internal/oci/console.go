package oci

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// received passes a descriptor on that the image has sent.
func (m *maker) received() error {
	kind, fd, err := m.image.Receive()
	if err != nil {
		return err
	}
	switch kind {
	case plan.SentTerminal:
		f := os.NewFile(uintptr(fd), "terminal")
		return m.terminal(f, m.config.Process.ConsoleSize)
	case plan.SentListener:
		defer unix.Close(fd)
		return m.compiler.handListener(m.container, fd, m.pid())
	}
	unix.Close(fd)
	return fmt.Errorf("the launcher image has sent something unknown (%d)", kind)
}

// terminal gives the master of the container's terminal to whoever is to have it.
func (m *maker) terminal(master *os.File, size *specs.Box) error {
	if size != nil && size.Height > 0 && size.Width > 0 {
		if size.Height > 0xffff || size.Width > 0xffff {
			master.Close()
			return refusal("process.consoleSize", "%d by %d is no size of a terminal", size.Width, size.Height)
		}
		w := unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}
		if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &w); err != nil {
			master.Close()
			return refusal("process.consoleSize", "%v", err)
		}
	}
	if m.onMaster != nil {
		return m.onMaster(master)
	}
	defer master.Close()
	return sendFD(m.o.ConsoleSocket, "/dev/pts/ptmx", int(master.Fd()))
}

// sendFD sends a descriptor over a unix socket by its path, with a name as the
// message, as console sockets have it.
func sendFD(socket, name string, fd int) error {
	return sendOver(socket, []byte(name), fd)
}

// sendOver goes around package net, whose tables each start of the runtime would wait for.
func sendOver(socket string, message []byte, fd int) error {
	conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(conn)
	if err := unix.Connect(conn, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("dial unix %s: connect: %w", socket, err)
	}
	for {
		// Without a signal: those of this process are passed on.
		_, err := unix.SendmsgN(conn, message, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

func sendPidfd(socket string, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	return sendFD(socket, "pidfd", fd)
}

// handListener gives the listener of a filter to the agent that linux.seccomp names,
// with the container's state, as the specification has it.
func (k *compiler) handListener(c *Container, fd, pid int) error {
	l := k.listener
	if l == nil {
		return fmt.Errorf("the filter has a listener that nobody asked for")
	}
	text, err := json.Marshal(specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: l.ListenerMetadata, State: c.state(Creating, pid),
	})
	if err != nil {
		return err
	}
	if err := sendOver(l.ListenerPath, text, fd); err != nil {
		return refusal("linux.seccomp.listenerPath", "%v", err)
	}
	return nil
}
