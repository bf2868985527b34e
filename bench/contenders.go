package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed floor/floor.c
var floorSource []byte

// contender is something that makes a sandbox and runs /bin/true in it.
type contender struct {
	name, what string
	argv       []string                      // a program to start, or
	turn       func() (time.Duration, error) // something else to do
	missing    error                         // why it can't run here
	seldom     bool                          // every tenth round only: it is slow, and the caches are its own afterwards
}

// once runs it and tells how long that took, from before fork(2) until after
// wait(2).
func (c *contender) once() (time.Duration, error) {
	if c.turn != nil {
		return c.turn()
	}
	return spawn(c.argv)
}

// spawn times a program. os/exec costs more and varies more: goroutines that
// copy, a pidfd, a poll.
func spawn(argv []string) (time.Duration, error) {
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}}
	start := time.Now()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return 0, err
	}
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	if status != 0 {
		return 0, fmt.Errorf("%s: wait status %#x", argv[0], int(status))
	}
	return took, nil
}

// try runs it once, keeping what it complains of.
func (c *contender) try() error {
	if c.missing != nil {
		return c.missing
	}
	if c.turn != nil {
		_, err := c.turn()
		return err
	}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		return fmt.Errorf("%w: %s", err, line)
	}
	return nil
}

// contenders makes what they need in dir; stop ends what they keep running.
func contenders(dir, only string) (list []*contender, stop func(), err error) {
	root, err := repository()
	if err != nil {
		return nil, nil, err
	}
	cloche := filepath.Join(root, "bin", "cloche")
	if _, err := os.Stat(cloche); err != nil {
		return nil, nil, fmt.Errorf("%w; `make build` makes it", err)
	}
	built := filepath.Join(dir, "built")
	if out, err := exec.Command(cloche, "build", "-o", built, "--", "/bin/true").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("cloche build: %w: %s", err, out)
	}
	floor, noFloor := compileFloor(dir)
	bound := filepath.Join(dir, "bound")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bound, "./bench/bound")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("go build ./bench/bound: %w: %s", err, out)
	}

	small, err := startWorker(floor, 0)
	if err != nil {
		return nil, nil, err
	}
	big, err := startWorker(floor, 1<<30)
	if err != nil {
		small.stop()
		return nil, nil, err
	}
	stop = func() { small.stop(); big.stop() }

	list = []*contender{
		{name: "floor", what: "C: clone, mounts, pivot_root, filter, exec; nothing else", argv: []string{floor, "/bin/true"}, missing: noFloor},
		{name: "cloche run", what: "the default profile: filter, Landlock, pids limit, 1 bind for each system directory, secrets masked", argv: []string{cloche, "run", "--", "/bin/true"}},
		{name: "cloche run, read-only /", what: "the same with / bound read-only as the others have it", argv: []string{cloche, "run", "--read", "/", "--", "/bin/true"}},
		{name: "cloche run, supervised", what: "the same with a wall-time limit, so that Cloche stays beside it", argv: []string{cloche, "run", "--wall-time", "1m", "--", "/bin/true"}},
		{name: "cloche build", what: "the default profile compiled to a file", argv: []string{built}},
		{name: "bound of a Go program", what: "an empty Go program that executes the file above in its place", argv: []string{bound, built}},
		{name: "library", what: "sandbox.Command(…).Run() in a running process, default profile", turn: small.library},
		{name: "library, 1 GiB heap", what: "the same in a process whose heap is 1 GiB", turn: big.library},
		{name: "floor from the library's process", what: "the floor, started by that process", turn: small.floor, missing: noFloor},
		peer("bwrap", "all namespaces, read-only /, fresh /proc, /dev, /tmp; no filter, no Landlock, no cgroup",
			"--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/true"),
		peer("unshare", "all namespaces and a fresh /proc; nothing else of it",
			"--map-root-user", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup", "--mount-proc", "/bin/true"),
		peer("firejail", "no profile, read-only /, private /dev and /tmp, no network",
			"--quiet", "--noprofile", "--read-only=/", "--private-dev", "--private-tmp", "--net=none", "/bin/true"),
		container("crun", dir),
		container("runc", dir),
	}
	for _, c := range list {
		c.seldom = c.name == "firejail" || c.name == "crun" || c.name == "runc"
	}
	if only != "" {
		names := strings.Split(only, ",")
		for _, n := range names {
			if !slices.ContainsFunc(list, func(c *contender) bool { return c.name == n }) {
				stop()
				return nil, nil, fmt.Errorf("-only %q: there is no such contender", n)
			}
		}
		list = slices.DeleteFunc(list, func(c *contender) bool { return !slices.Contains(names, c.name) })
	}
	return list, stop, nil
}

func peer(name, what string, args ...string) *contender {
	path, err := exec.LookPath(name)
	if err != nil {
		return &contender{name: name, what: what, missing: errors.New("it is not installed")}
	}
	return &contender{name: name, what: what, argv: append([]string{path}, args...)}
}

// compileFloor compiles floor/floor.c.
func compileFloor(dir string) (string, error) {
	cc, err := exec.LookPath("gcc")
	if err != nil {
		return "", errors.New("gcc is not installed")
	}
	source, binary := filepath.Join(dir, "floor.c"), filepath.Join(dir, "floor")
	if err := os.WriteFile(source, floorSource, 0o644); err != nil {
		return "", err
	}
	if out, err := exec.Command(cc, "-O2", "-static", "-o", binary, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w: %s", err, out)
	}
	return binary, nil
}
