package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cloche-sandbox/cloche/bench/bundle"
	"github.com/cloche-sandbox/cloche/bench/turns"
)

// runtime is one of the programs that are compared.
type runtime struct {
	name    string
	path    string
	missing error
	dir     string
	state   string
	n       int // containers so far
}

// runtimes makes the bundles and finds the programs.
func runtimes(dir string) ([]*runtime, error) {
	root, err := turns.Repository()
	if err != nil {
		return nil, err
	}
	files := filepath.Join(dir, "files")
	if err := compile(files); err != nil {
		return nil, err
	}
	filter, err := bundle.Docker(filepath.Join(root, "seccomp", "profile", "docker.json"))
	if err != nil {
		return nil, err
	}
	var list []*runtime
	for _, name := range []string{cloche, "crun", "runc"} {
		r := &runtime{name: name, dir: filepath.Join(dir, name), state: filepath.Join(dir, "state", name)}
		if name == cloche {
			r.path = filepath.Join(files, cloche)
			err = os.Symlink(filepath.Join(root, "bin", "cloche"), r.path)
			if err == nil {
				_, err = os.Stat(r.path) // `make build` makes it
			}
		} else {
			r.path, err = exec.LookPath(name)
		}
		if err != nil {
			r.missing = err
		}
		for _, b := range []struct {
			name    string
			args    []string
			seccomp json.RawMessage
		}{
			{"plain", []string{"/files/true"}, nil}, {"docker", []string{"/files/true"}, filter}, {"waits", []string{"/files/true", "wait"}, nil},
		} {
			it := bundle.Bundle{Args: b.args, Files: files, Seccomp: b.seccomp}
			if err := it.Write(filepath.Join(r.dir, b.name)); err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	return list, nil
}

// command is a call of the runtime.
func (r *runtime) command(args ...string) []string {
	return append([]string{r.path, "--root", r.state}, args...)
}

func (r *runtime) id() string {
	r.n++
	return fmt.Sprintf("cloche-bench-%s-%d-%d", r.name, os.Getpid(), r.n)
}

// contenders are what is timed of a runtime; stop ends what they keep running.
func (r *runtime) contenders() (list []*turns.Contender, stop func()) {
	running := ""
	add := func(name, what string, turn func() (time.Duration, error)) {
		list = append(list, &turns.Contender{Name: r.name + " " + name, What: what, Turn: turn, Missing: r.missing, Seldom: r.name == "runc"})
	}
	for _, f := range []struct{ bundle, suffix string }{{"plain", ""}, {"docker", ", Docker's filter"}} {
		b := filepath.Join(r.dir, f.bundle)
		add("run"+f.suffix, "run, from fork to wait", func() (time.Duration, error) {
			return turns.Spawn(r.command("run", "--bundle", b, r.id()))
		})
		add("create, start, delete"+f.suffix, "the three commands, without the wait for the container's end", func() (time.Duration, error) {
			return r.three(b)
		})
	}
	add("exec", "exec in a running container, from fork to wait", func() (time.Duration, error) {
		if running == "" {
			id := r.id()
			if _, err := r.start(filepath.Join(r.dir, "waits"), id); err != nil {
				return 0, err
			}
			running = id
		}
		return turns.Spawn(r.command("exec", running, "/files/true"))
	})
	return list, func() {
		if running != "" {
			_, _ = turns.Spawn(r.command("delete", "--force", running))
		}
	}
}

// create makes a container and tells the pid of its process, which is this program's to
// wait for.
func (r *runtime) create(b, id string) (pid int, took time.Duration, err error) {
	file := filepath.Join(r.dir, "pid")
	if took, err = turns.Spawn(r.command("create", "--bundle", b, "--pid-file", file, id)); err != nil {
		return 0, took, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, took, err
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return pid, took, err
}

func (r *runtime) start(b, id string) (pid int, err error) {
	if pid, _, err = r.create(b, id); err != nil {
		return 0, err
	}
	if _, err = turns.Spawn(r.command("start", id)); err != nil {
		return 0, err
	}
	// start does not wait for the exec.
	for range 200 {
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(comm)) == "true" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return pid, nil
}

func (r *runtime) three(b string) (time.Duration, error) {
	id := r.id()
	pid, took, err := r.create(b, id)
	if err != nil {
		return 0, err
	}
	t, err := turns.Spawn(r.command("start", id))
	if err != nil {
		return 0, err
	}
	took += t
	reap(pid)
	if t, err = turns.Spawn(r.command("delete", id)); err != nil {
		return 0, err
	}
	return took + t, nil
}

func reap(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != syscall.EINTR {
			return
		}
	}
}

// memory is what a container that waits for its start keeps resident, in all of its
// processes.
func (r *runtime) memory() (turns.Memory, error) {
	m := turns.Memory{Name: r.name + ", created and not started", PrivateDirty: -1}
	if r.missing != nil {
		return m, r.missing
	}
	id := r.id()
	pid, _, err := r.create(filepath.Join(r.dir, "plain"), id)
	if err != nil {
		return m, err
	}
	defer func() {
		_, _ = turns.Spawn(r.command("delete", "--force", id))
		reap(pid)
	}()
	time.Sleep(200 * time.Millisecond)
	return turns.Rollup(m.Name, pid)
}

// joins is `cloche exec` into a sandbox that is no container, with the same program.
func joins(dir string) (c *turns.Contender, stop func()) {
	c = &turns.Contender{Name: "cloche exec", What: "exec into a sandbox of the default profile, from fork to wait"}
	var root string
	if root, c.Missing = turns.Repository(); c.Missing != nil {
		return c, func() {}
	}
	files, env := filepath.Join(dir, "files"), []string{"CLOCHE_STATE_DIR=" + filepath.Join(dir, "records")}
	call := func(args ...string) (time.Duration, error) {
		return turns.SpawnWith(env, append([]string{filepath.Join(root, "bin", "cloche")}, args...))
	}
	program := filepath.Join(files, "true")
	_, c.Missing = call("run", "--name", "bench", "--detach", "--read", files, "--", program, "wait")
	c.Turn = func() (time.Duration, error) { return call("exec", "bench", "--", program) }
	return c, func() { _, _ = call("rm", "--force", "bench") }
}
