package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/bench/bundle"
	"github.com/cloche-sandbox/cloche/bench/turns"
)

//go:embed floor/floor.c
var floorSource []byte

// contenders makes what they need in dir; stop ends what they keep running.
func contenders(dir, only string) (list []*turns.Contender, stop func(), err error) {
	root, err := turns.Repository()
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
	ends := []func(){small.stop, big.stop}
	stop = func() {
		for _, end := range ends {
			end()
		}
	}

	list = []*turns.Contender{
		{Name: "floor", What: "C: clone, mounts, pivot_root, filter, exec; nothing else", Argv: []string{floor, "/bin/true"}, Missing: noFloor},
		{Name: "cloche run", What: "the default profile: filter, Landlock, pids limit, 1 bind for each system directory, secrets masked", Argv: []string{cloche, "run", "--", "/bin/true"}},
		{Name: "cloche run, read-only /", What: "the same with / bound read-only as the others have it", Argv: []string{cloche, "run", "--read", "/", "--", "/bin/true"}},
		{Name: "cloche run, supervised", What: "the same with a wall-time limit, so that Cloche stays beside it", Argv: []string{cloche, "run", "--wall-time", "1m", "--", "/bin/true"}},
		running(cloche, dir, &ends),
		{Name: "cloche build", What: "the default profile compiled to a file", Argv: []string{built}},
		{Name: "bound of a Go program", What: "an empty Go program that executes the file above in its place", Argv: []string{bound, built}},
		{Name: "library", What: "sandbox.Command(…).Run() in a running process, default profile", Turn: small.library},
		{Name: "library, 1 GiB heap", What: "the same in a process whose heap is 1 GiB", Turn: big.library},
		{Name: "floor from the library's process", What: "the floor, started by that process", Turn: small.floor, Missing: noFloor},
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
		c.Seldom = c.Name == "firejail" || c.Name == "crun" || c.Name == "runc"
	}
	if only != "" {
		names := strings.Split(only, ",")
		for _, n := range names {
			if !slices.ContainsFunc(list, func(c *turns.Contender) bool { return c.Name == n }) {
				stop()
				return nil, nil, fmt.Errorf("-only %q: there is no such contender", n)
			}
		}
		list = slices.DeleteFunc(list, func(c *turns.Contender) bool { return !slices.Contains(names, c.Name) })
	}
	return list, stop, nil
}

// running is `cloche exec` into a sandbox that runs, which is ended with the others.
func running(cloche, dir string, ends *[]func()) *turns.Contender {
	c := &turns.Contender{Name: "cloche exec", What: "into a sandbox of the default profile that runs in the background"}
	records := filepath.Join(dir, "records")
	*ends = append(*ends, func() { _ = inRecords(records, cloche, "rm", "--force", "bench") })
	c.Missing = inRecords(records, cloche, "run", "--name", "bench", "--detach", "--", "sleep", "infinity")
	c.Turn = func() (time.Duration, error) {
		return turns.SpawnWith([]string{"CLOCHE_STATE_DIR=" + records}, []string{cloche, "exec", "bench", "--", "/bin/true"})
	}
	return c
}

// inRecords runs cloche with records of its own.
func inRecords(records, cloche string, args ...string) error {
	cmd := exec.Command(cloche, args...)
	cmd.Env = append(os.Environ(), "CLOCHE_STATE_DIR="+records)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cloche %s: %w: %s", args[0], err, out)
	}
	return nil
}

func peer(name, what string, args ...string) *turns.Contender {
	path, err := exec.LookPath(name)
	if err != nil {
		return &turns.Contender{Name: name, What: what, Missing: errors.New("it is not installed")}
	}
	return &turns.Contender{Name: name, What: what, Argv: append([]string{path}, args...)}
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

// container is an OCI runtime with a bundle that is the same sandbox: all
// namespaces, read-only system directories, fresh /proc, /dev and /tmp.
func container(name, dir string) *turns.Contender {
	what := "OCI runtime: the same namespaces and mounts, no filter"
	path, err := exec.LookPath(name)
	if err != nil {
		return &turns.Contender{Name: name, What: what, Missing: errors.New("it is not installed")}
	}
	b := bundle.Bundle{Args: []string{"/bin/true"}}
	if err := b.Write(filepath.Join(dir, name)); err != nil {
		return &turns.Contender{Name: name, What: what, Missing: err}
	}
	id := fmt.Sprintf("cloche-bench-%s-%d", name, os.Getpid())
	return &turns.Contender{Name: name, What: what, Argv: []string{path, "--root", filepath.Join(dir, name+"-state"), "run", "--bundle", filepath.Join(dir, name), id}}
}
