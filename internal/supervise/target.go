package supervise

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// Made is what the command was confined to: the policy, and the Landlock rules that were
// made of it. Neither may be changed.
func (p *Process) Made() (*policy.Policy, []plan.LandlockPath) { return p.plan.Policy, p.plan.Landlock }

// Command is the pid of the command, outside.
func (p *Process) Command() (int, error) {
	init := p.PID()
	if init == 0 {
		return 0, os.ErrProcessDone
	}
	if !p.spec.Policy.Init {
		return init, nil
	}
	return CommandOf(init)
}

// CommandOf is the pid of the command whose sandbox's pid 1 is init: of the processes that
// pid 1 has, adopted ones among them, the one that it made first, as its pid inside
// tells.
func CommandOf(init int) (int, error) {
	children, err := Children(init)
	if err != nil {
		return 0, err
	}
	best, number := 0, 0
	for _, pid := range children {
		if n := innermostPID(pid); n > 0 && (best == 0 || n < number) {
			best, number = pid, n
		}
	}
	if best == 0 {
		return 0, fmt.Errorf("the command of process %d has ended: %w", init, os.ErrProcessDone)
	}
	return best, nil
}

// Children are the children of a process, in ascending order (CONFIG_PROC_CHILDREN).
func Children(pid int) ([]int, error) {
	threads, err := os.ReadDir(procDir(pid) + "/task")
	if err != nil {
		return nil, joinError(pid, os.ErrProcessDone)
	}
	var pids []int
	for _, t := range threads {
		list, err := os.ReadFile(procDir(pid) + "/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for child := range strings.FieldsSeq(string(list)) {
			if n, err := strconv.Atoi(child); err == nil {
				pids = append(pids, n)
			}
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// innermostPID is the pid that a process has in its own pid namespace; 0: it is gone.
func innermostPID(pid int) int {
	text, err := os.ReadFile(procDir(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return pid
	}
	n, _ := strconv.Atoi(fields[len(fields)-1])
	return n
}
