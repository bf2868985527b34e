package supervise

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// ContainerImage is an image that makes a container of the OCI specification, or
// runs a process in one. It asks for what only its starter can do, by records that
// are answered one after the other, and then needs nobody any more.
type ContainerImage struct {
	plan  *plan.Plan
	index []int
	// Both block: a wait for the image takes no poller, and no other thread.
	status, control int
	launcher        int
}

// StartContainer executes the image of a plan. files are its descriptors from 0 on,
// of which those of the plan's StatusFD and ControlFD are made here. The calling
// goroutine must be locked to a thread that lives until the image says
// [plan.RecordMade]: its end would end the image.
func StartContainer(p *plan.Plan, statusFD, controlFD int, files []uintptr, args, env []string) (*ContainerImage, error) {
	image, err := assemble(p)
	if err != nil {
		return nil, err
	}
	memfd, err := imageFile(image.ELF)
	if err != nil {
		return nil, err
	}
	defer memfd.release()
	c := &ContainerImage{plan: p, index: image.Ops, control: -1}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("status pipe: %w", err)
	}
	c.status = pipe[0]
	defer unix.Close(pipe[1])
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.Close()
		return nil, os.NewSyscallError("socketpair", err)
	}
	c.control = pair[0]
	defer unix.Close(pair[1])
	files[statusFD], files[controlFD] = uintptr(pipe[1]), uintptr(pair[1])
	files = append(files, uintptr(memfd.fd))
	c.launcher, err = syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(len(files)-1), args, &syscall.ProcAttr{Env: env, Files: files})
	if err != nil {
		c.Close()
		return nil, startError(err, &Spec{Args: args, Env: env})
	}
	return c, nil
}

// Next is the next record, and its numbers. io.EOF: all its processes are gone, have
// become others, or write to the FIFO of start now.
func (c *ContainerImage) Next() (kind plan.RecordKind, a, b uint32, err error) {
	r, err := readRecord(rawReader(c.status))
	if err != nil {
		return 0, 0, 0, err
	}
	if r.kind == plan.RecordFailed {
		return r.kind, 0, 0, c.explain(r)
	}
	return r.kind, r.a, r.b, nil
}

func (c *ContainerImage) explain(r record) error {
	i := -1
	if int(r.a) < len(c.index) {
		i = c.index[r.a]
	}
	return c.plan.Explain(i, syscall.Errno(r.b))
}

// Answer lets the image go on.
func (c *ContainerImage) Answer() error {
	_, err := unix.Write(c.control, []byte{1})
	return err
}

// rawReader reads a descriptor that blocks.
type rawReader int

func (r rawReader) Read(b []byte) (int, error) {
	n, err := unix.Read(int(r), b)
	if err == nil && n == 0 {
		return 0, io.EOF
	}
	return max(n, 0), err
}

// Receive is a descriptor that the image has sent, and which, see plan.SentTerminal.
func (c *ContainerImage) Receive() (kind byte, fd int, err error) {
	return ReceiveDescriptor(c.control)
}

// ReceiveDescriptor is the same on another connection with an image.
func ReceiveDescriptor(socket int) (kind byte, fd int, err error) {
	var one [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(socket, one[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, -1, os.NewSyscallError("recvmsg", err)
		}
		if n == 0 {
			return 0, -1, fmt.Errorf("the launcher image has sent no descriptor")
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) != 1 {
			return 0, -1, fmt.Errorf("the launcher image has sent no descriptor: %v", err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			return 0, -1, fmt.Errorf("the launcher image has sent no descriptor: %v", err)
		}
		return one[0], fds[0], nil
	}
}

// Reap waits for the processes that were only there to make others.
func (c *ContainerImage) Reap(pids ...int) {
	for _, pid := range slices.Concat(pids, []int{c.launcher}) {
		for {
			if _, err := syscall.Wait4(pid, nil, 0, nil); err != syscall.EINTR {
				break
			}
		}
	}
}

// Launcher is the pid of the process that was started.
func (c *ContainerImage) Launcher() int { return c.launcher }

// Close closes what image and starter talk over: an image that waits for an answer ends.
func (c *ContainerImage) Close() {
	for _, fd := range [...]*int{&c.status, &c.control} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

// Last is the number of the last operation of a kind, as a record of its failure
// tells it: for whoever reads the record without having the plan.
func (c *ContainerImage) Last(kind plan.Kind) uint32 {
	for i := len(c.index) - 1; i >= 0; i-- {
		if at := c.index[i]; at >= 0 && c.plan.Steps[c.plan.Ops[at].Step].Kind == kind {
			return uint32(i)
		}
	}
	return ^uint32(0)
}
