// Command oci times Cloche as an OCI runtime beside crun and runc, by turns: a container
// whose process is a static program that ends at once, by `run`; by create, start and delete as
// engines call them; and `exec` in one that runs. It needs root.
//
//	go run ./bench/oci [-rounds N] [-json FILE] [-check]
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/bench/turns"
)

func main() { turns.Main("bench/oci", 100, run) }

func run(rounds int) (*turns.Report, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("it needs root: engines run these programs as root")
	}
	if hidden := os.Getenv(hiddenVariable); hidden == "" {
		return nil, again()
	}
	if err := hideUnified(); err != nil {
		return nil, err
	}
	// A container's process is a child of whoever made it; create ends before it does.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cloche-bench-oci-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		return nil, err
	}
	// As /run is, where runtimes keep what they know of containers. On a disk's file system
	// this benchmark would measure how long it looks for inodes that were not deleted just now.
	if err := unix.Mount("none", state, "tmpfs", 0, ""); err != nil {
		return nil, fmt.Errorf("mount a tmpfs: %w", err)
	}
	defer unix.Unmount(state, unix.MNT_DETACH)
	list, err := runtimes(dir)
	if err != nil {
		return nil, err
	}
	var contenders []*turns.Contender
	for _, rt := range list {
		c, stop := rt.contenders()
		defer stop()
		contenders = append(contenders, c...)
	}
	c, stop := joins(dir)
	defer stop()
	contenders = append(contenders, c)
	r, err := turns.Run(contenders, rounds)
	if err != nil {
		return nil, err
	}
	r.Judge(goals...)
	for _, rt := range list {
		m, err := rt.memory()
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench/oci: memory of %s: %v\n", rt.name, err)
			continue
		}
		r.Memory = append(r.Memory, m)
		if rt.name == cloche {
			r.Goals = append(r.Goals, turns.Goal{Name: m.Name + ", KiB", Limit: 128, Got: float64(m.RSS), Met: m.RSS <= 128})
		}
	}
	return r, nil
}

const cloche = "cloche-oci"

var goals = []turns.Ratio{
	{A: "cloche-oci run", B: "crun run", Limit: 0.50},
	{A: "cloche-oci run", B: "runc run", Limit: 0.25},
	{A: "cloche-oci run, Docker's filter", B: "crun run, Docker's filter", Limit: 0.30},
	{A: "cloche-oci run, Docker's filter", B: "runc run, Docker's filter", Limit: 0.15},
	{A: "cloche-oci create, start, delete", B: "crun create, start, delete", Limit: 0.85},
	{A: "cloche-oci create, start, delete, Docker's filter", B: "crun create, start, delete, Docker's filter", Limit: 0.45},
	{A: "cloche-oci exec", B: "crun exec", Limit: 0.50},
	{A: "cloche exec", B: "crun exec", Limit: 0.50},
}

// crun runs on cgroup v1 or on cgroup2 and refuses v1 with a cgroup2 that has no
// controllers mounted beside it. That is hidden from all contenders, in a mount
// namespace of their own.
const hiddenVariable = "CLOCHE_BENCH_OCI_HIDDEN"

const unified = "/sys/fs/cgroup/unified"

// again runs this program once more in a mount namespace of its own, and ends as it does.
func again() error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), hiddenVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return nil
}

func hideUnified() error {
	if _, err := os.Stat(filepath.Join(unified, "cgroup.procs")); err != nil {
		return nil
	}
	if err := unix.Mount("none", unified, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a tmpfs over %s: %w", unified, err)
	}
	return nil
}

//go:embed process/true.c
var source []byte

// compile compiles the containers' program to dir/true.
func compile(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("gcc", "-O2", "-static", "-x", "c", "-o", filepath.Join(dir, "true"), "-")
	cmd.Stdin = bytes.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
