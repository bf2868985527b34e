package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	return runHooksInside("createContainer", h.CreateContainer, state, m.pid(), m.config.namespaceFlags(nil))
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

// runHooksInside runs hooks in the namespaces of a container's process, each in an
// image that joins them.
func runHooksInside(name string, hooks []specs.Hook, state specs.State, pid int, namespaces uint64) error {
	return eachHook(name, hooks, state, func(h *specs.Hook, text []byte) error {
		ctx, cancel := hookContext(h)
		defer cancel()
		return hookInside(ctx, h, text, pid, namespaces)
	})
}

func hookInside(ctx context.Context, h *specs.Hook, text []byte, pid int, namespaces uint64) error {
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	target, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(target)
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
	p, err := plan.CompileHook(&facts, h.Path, plan.JoinNamespace{Name: "container's", Type: namespaces, FD: 5})
	if err != nil {
		return err
	}
	image, err := supervise.StartContainer(p, 3, 4, []uintptr{stdin.Fd(), outW.Fd(), outW.Fd(), 0, 0, uintptr(target)}, args, h.Env)
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
