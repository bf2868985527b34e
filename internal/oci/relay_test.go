package oci

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestRelay: signals of a runtime in the foreground are its container's.
func TestRelay(t *testing.T) {
	r := newRuntime(t)
	b := bundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", `
			for s in USR1 HUP INT SEGV ABRT 40 64; do trap "echo $s" $s; done
			trap "echo TERM; exit 3" TERM
			echo ready
			while :; do sleep 1000 & wait $!; done`}
	})
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{programName, "--root", r.root, "run", "--bundle", b, fmt.Sprint("cloche-relay-", os.Getpid())}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			_ = cmd.Process.Kill()
			t.Fatalf("it said %q, want %q", lines.Text(), want)
		}
	}
	next("ready")
	for _, c := range []struct {
		sig  unix.Signal
		says string
	}{{unix.SIGUSR1, "USR1"}, {unix.SIGHUP, "HUP"}, {unix.SIGINT, "INT"}, {unix.SIGSEGV, "SEGV"}, {unix.SIGABRT, "ABRT"}, {40, "40"}, {64, "64"}, {unix.SIGUSR1, "USR1"}, {unix.SIGTERM, "TERM"}} {
		if err := unix.Kill(cmd.Process.Pid, c.sig); err != nil {
			t.Fatal(err)
		}
		next(c.says)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("it ended with %v, want exit status 3", err)
	}
}

// TestRelayEarly: a signal that comes before the container's process is one is not lost.
func TestRelayEarly(t *testing.T) {
	r := newRuntime(t)
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nkill -USR2 $PPID\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := bundle(t, func(s *specs.Spec) {
		// The first process of a pid namespace ignores what it has no handler for.
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: hook}}}
	})
	if out, status := r.do("run", "--bundle", b, fmt.Sprint("cloche-early-", os.Getpid())); status != 128+int(unix.SIGUSR2) {
		t.Errorf("exit status %d, want that of SIGUSR2: %s", status, out)
	}
}

const ownFault = "CLOCHE_TEST_OWN_FAULT"

func init() {
	if os.Getenv(ownFault) == "" {
		return
	}
	relay()
	defer func() {
		if recover() != nil {
			os.Exit(7)
		}
		os.Exit(8)
	}()
	var nobody *Container
	nobody.Pid = 1
}

// TestRelayFault: a fault of the runtime's own stays one.
func TestRelayFault(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ownFault+"=1")
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("a fault ended with %d, want a panic", got)
	}
}
