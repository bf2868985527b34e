package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cloche-sandbox/cloche/bench/turns"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// settle is how long a process gets to give back what only its start needed.
const settle = 200 * time.Millisecond

// memory measures the processes that stay while a command runs: pid 1 of the
// sandbox, and the program beside it where a limit needs one. Pid 1 is
// undumpable, so only root may read more of it than its size.
func memory() ([]turns.Memory, error) {
	var list []turns.Memory
	p, ok := policy.Builtin("default")
	if !ok {
		return nil, fmt.Errorf("no default profile")
	}
	p.Env = policy.Env{}
	c := sandbox.Command(context.Background(), p, "/bin/cat")
	c.Env = []string{"PATH=/usr/bin:/bin"}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	time.Sleep(settle)
	m, err := turns.Rollup("init in the sandbox (pid 1)", c.PID())
	in.Close()
	c.Wait()
	if err != nil {
		return nil, err
	}
	list = append(list, m)

	root, err := turns.Repository()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(root, "bin", "cloche"), "run", "--wall-time", "1m", "--", "/bin/sh", "-c", "echo started; cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	bufio.NewReader(stdout).ReadString('\n')
	time.Sleep(settle)
	m, err = turns.Rollup("supervisor (cloche run --wall-time)", cmd.Process.Pid)
	stdin.Close()
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	return append(list, m), err
}

// judgeMemory adds the goals about memory, as far as it could be read.
func judgeMemory(r *turns.Report) {
	for i, limit := range [][2]int{{40, 8}, {6 << 10, -1}} {
		m := r.Memory[i]
		r.Goals = append(r.Goals, turns.Goal{Name: m.Name + ", RSS KiB", Limit: float64(limit[0]), Got: float64(m.RSS), Met: m.RSS <= limit[0]})
		if limit[1] >= 0 && m.PrivateDirty >= 0 {
			r.Goals = append(r.Goals, turns.Goal{Name: m.Name + ", private dirty KiB", Limit: float64(limit[1]), Got: float64(m.PrivateDirty), Met: m.PrivateDirty <= limit[1]})
		}
	}
}
