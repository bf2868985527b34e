package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

// runHooks runs those of create: everything is mounted, and the root is still the host's.
func (m *maker) runHooks() error {
	m.hooked = true
	h, c := m.config.Hooks, m.container
	state := c.state(Creating, m.pid())
	//lint:ignore SA1019 engines still use it
	if err := runHooks("prestart", h.Prestart, state); err != nil {
		return err
	}
	if err := runHooks("createRuntime", h.CreateRuntime, state); err != nil {
		return err
	}
	held, err := receiveNamespaces(m.config, m.image.Receive)
	if err != nil {
		return err
	}
	defer closeNamespaces(held)
	return runHooksInside("createContainer", h.CreateContainer, state, held)
}

// hasHooksInside reports whether there are hooks that run in the container's namespaces.
func (c *config) hasHooksInside() bool {
	return c.Hooks != nil && len(c.Hooks.CreateContainer)+len(c.Hooks.StartContainer) > 0
}

// heldNamespaces are those that such hooks join.
func (c *config) heldNamespaces() (all []plan.JoinNamespace) {
	for i := range c.Linux.Namespaces {
		n := &c.Linux.Namespaces[i]
		if n.Type == specs.UserNamespace && n.Path != "" && sameNamespace(n.Path, n.Type) {
			continue // the own one can't be joined
		}
		all = append(all, plan.JoinNamespace{Name: namespaceFile(n.Type), Type: cloneFlags[n.Type]})
	}
	return all
}

// receiveNamespaces takes them from the image that holds them.
func receiveNamespaces(c *config, receive func() (byte, int, error)) ([]plan.JoinNamespace, error) {
	if !c.hasHooksInside() {
		return nil, nil
	}
	held := c.heldNamespaces()
	for i := range held {
		kind, fd, err := receive()
		if err == nil && kind != plan.SentNamespace {
			unix.Close(fd)
			err = fmt.Errorf("the launcher image has sent something unknown (%d)", kind)
		}
		if err != nil {
			closeNamespaces(held[:i])
			return nil, fmt.Errorf("the namespaces that hooks join: %w", err)
		}
		held[i].FD = fd
	}
	return held, nil
}

func closeNamespaces(held []plan.JoinNamespace) {
	for i := range held {
		unix.Close(held[i].FD)
	}
}

// makeHooksSocket is where whoever starts the container asks for its namespaces.
func (c *Container) makeHooksSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = c.withHooksAddress(func(a unix.Sockaddr) error {
		if err := unix.Bind(fd, a); err != nil {
			return os.NewSyscallError("bind", err)
		}
		return os.NewSyscallError("listen", unix.Listen(fd, 1))
	})
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", filepath.Join(c.dir(), hooksSocket), err)
	}
	return fd, nil
}

// withHooksAddress goes by a descriptor of the directory, as the path of a socket may not be long.
func (c *Container) withHooksAddress(do func(unix.Sockaddr) error) error {
	dir, err := unix.Open(c.dir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return do(&unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(dir) + "/" + hooksSocket})
}

// runStartContainer runs the hooks of that name, while the container's process waits for start.
func (c *Container) runStartContainer(start int) error {
	cfg, err := c.spec()
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	if err := c.withHooksAddress(func(a unix.Sockaddr) error { return unix.Connect(socket, a) }); err != nil {
		return fmt.Errorf("connect with the container's process: %w", err)
	}
	if _, err := unix.Write(start, []byte{plan.StartForHooks}); err != nil {
		return fmt.Errorf("ask the container's process for its namespaces: %w", err)
	}
	held, err := receiveNamespaces(cfg, func() (byte, int, error) { return supervise.ReceiveDescriptor(socket) })
	if err != nil {
		return err
	}
	defer closeNamespaces(held)
	return runHooksInside("startContainer", c.StartContainer, c.state(Created, c.Pid), held)
}

// runHooks runs hooks in this process's namespaces, one after the other. The first
// that fails is the last.
func runHooks(name string, hooks []specs.Hook, state specs.State) error {
	return eachHook(name, hooks, state, func(h *specs.Hook, text []byte) error {
		ctx, cancel := hookContext(h)
		defer cancel()
		var out, errOut bytes.Buffer
		cmd := exec.CommandContext(ctx, h.Path)
		cmd.Args, cmd.Env = h.Args, h.Env
		if len(h.Args) == 0 {
			cmd.Args = []string{h.Path}
		}
		if h.Env == nil {
			cmd.Env = []string{} // no environment, not this process's
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &errOut
		cmd.Dir = state.Bundle
		cmd.WaitDelay = time.Second
		err := cmd.Run()
		if ctx.Err() != nil {
			return fmt.Errorf("hook ran past specified timeout of %ds", *h.Timeout)
		}
		if err != nil {
			return fmt.Errorf("%w, stdout: %s, stderr: %s", err, out.Bytes(), errOut.Bytes())
		}
		return nil
	})
}

func eachHook(name string, hooks []specs.Hook, state specs.State, run func(*specs.Hook, []byte) error) error {
	if len(hooks) == 0 {
		return nil
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for i := range hooks {
		if err := run(&hooks[i], text); err != nil {
			return fmt.Errorf("error running %s hook #%d (%s): %w", name, i, hooks[i].Path, err)
		}
	}
	return nil
}

func hookContext(h *specs.Hook) (context.Context, context.CancelFunc) {
	if h.Timeout == nil {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(*h.Timeout)*time.Second)
}

// runHooksInside runs hooks in the namespaces of a container, each in an image that joins them.
func runHooksInside(name string, hooks []specs.Hook, state specs.State, namespaces []plan.JoinNamespace) error {
	return eachHook(name, hooks, state, func(h *specs.Hook, text []byte) error {
		ctx, cancel := hookContext(h)
		defer cancel()
		return hookInside(ctx, h, text, namespaces)
	})
}

func hookInside(ctx context.Context, h *specs.Hook, text []byte, namespaces []plan.JoinNamespace) error {
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	stdin, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		w.Close()
		return err
	}
	defer outR.Close()
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	files := []uintptr{stdin.Fd(), outW.Fd(), outW.Fd(), 0, 0}
	join := slices.Clone(namespaces)
	for i := range join {
		files = append(files, uintptr(join[i].FD))
		join[i].FD = len(files) - 1
	}
	p, err := plan.CompileHook(&facts, h.Path, join)
	if err != nil {
		return err
	}
	image, err := supervise.StartContainer(p, 3, 4, files, args, h.Env)
	outW.Close()
	if err != nil {
		w.Close()
		return err
	}
	go func() {
		_, _ = w.Write(text)
		w.Close()
	}()
	var out bytes.Buffer
	read := make(chan struct{})
	go func() {
		_, _ = out.ReadFrom(outR)
		close(read)
	}()
	var hook int
	var failure error
	for {
		kind, value, _, err := image.Next()
		if err != nil {
			if kind == plan.RecordFailed {
				failure = errors.Join(failure, err)
				continue
			}
			break
		}
		if kind == plan.RecordPID {
			hook = int(value)
		}
	}
	image.Reap()
	image.Close()
	if failure != nil || hook == 0 {
		if hook > 0 {
			_, _ = unix.Wait4(hook, nil, 0, nil)
		}
		return errors.Join(failure)
	}
	ended := make(chan unix.WaitStatus, 1)
	go func() {
		var ws unix.WaitStatus
		for {
			if _, err := unix.Wait4(hook, &ws, 0, nil); err != unix.EINTR {
				break
			}
		}
		ended <- ws
	}()
	select {
	case ws := <-ended:
		select {
		case <-read:
		case <-time.After(time.Second):
		}
		if ws.ExitStatus() != 0 {
			return fmt.Errorf("exit status %d, output: %s", ws.ExitStatus(), out.Bytes())
		}
		return nil
	case <-ctx.Done():
		_ = unix.Kill(hook, unix.SIGKILL)
		<-ended
		return fmt.Errorf("hook ran past specified timeout of %ds", *h.Timeout)
	}
}

// namespaceFlags are the kinds of namespaces that a container has of its own, for
// setns(2) with a pidfd.
func (c *config) namespaceFlags(skip func(t specs.LinuxNamespaceType) bool) uint64 {
	var flags uint64
	for i := range c.Linux.Namespaces {
		if t := c.Linux.Namespaces[i].Type; skip == nil || !skip(t) {
			flags |= cloneFlags[t]
		}
	}
	return flags
}

// runPoststop runs what is left to do when a container is gone. A failure is said
// and stops nothing, as the specification has it.
func (c *Container) runPoststop() {
	if err := runHooks("poststop", c.Poststop, c.state(Stopped, 0)); err != nil {
		warnf("%v", err)
	}
}
