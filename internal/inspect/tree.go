package inspect

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Node is a process of a tree, with its threads.
type Node struct {
	PID      int      `json:"pid"`
	PIDs     []int    `json:"pids"` // in each pid namespace that it is in, from the caller's inwards
	Name     string   `json:"name"`
	Command  []string `json:"command"`
	State    string   `json:"state"`
	Threads  []Thread `json:"threads"`
	Unread   []Unread `json:"unread"`
	Children []*Node  `json:"children"`

	parent int
}

// Tree is all processes that share pid's pid namespace, or live in one below it, as far as
// they were made by one of them; a process whose parent is outside is a root of its
// own. Where the pid namespace is init's or the caller's own, it is pid and what lives below it.
func Tree(pid int, start uint64) ([]*Node, error) {
	t, err := open(pid, start)
	if err != nil {
		return nil, err
	}
	defer t.close()
	own, err := t.ownPIDs()
	if err != nil {
		return nil, err
	}
	members := []int{t.pid}
	if own != 0 {
		all, err := Snap()
		if err != nil {
			return nil, err
		}
		members = append(members, all.members[own]...)
		// Pid 1 of a sandbox is not dumpable, so that its namespaces are shown to root alone: it is
		// the one above that has as many pids.
		members = append(members, hiddenAbove(t.leader)...)
	}
	// What lives in a namespace below is found by its parents.
	in := map[int]bool{}
	for len(members) > 0 {
		pid := members[0]
		members = members[1:]
		if !in[pid] {
			in[pid] = true
			members = append(members, Children(pid)...)
		}
	}
	nodes := map[int]*Node{}
	for p := range in {
		if n := node(p); n != nil {
			nodes[p] = n
		}
	}
	if nodes[t.pid] == nil {
		return nil, t.gone()
	}
	var roots []*Node
	for _, n := range nodes {
		if up := nodes[n.parent]; up != nil && up != n {
			up.Children = append(up.Children, n)
		} else {
			roots = append(roots, n)
		}
	}
	byPID := func(a, b *Node) int { return a.PID - b.PID }
	for _, n := range nodes {
		slices.SortFunc(n.Children, byPID)
	}
	slices.SortFunc(roots, byPID)
	return roots, t.alive()
}

// ownPIDs is the number of the process's pid namespace; 0: it is that of init or the caller.
func (t *target) ownPIDs() (uint64, error) {
	var err error
	if t.leader, err = t.status("status"); err != nil {
		return 0, err
	}
	for _, n := range t.namespaces() {
		if n.Type == "pid" && n.Own() {
			return n.Inode, nil
		}
	}
	return 0, nil
}

// Children are a process's children, proc_pid_task_children(5): those of each thread.
func Children(pid int) (all []int) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	add := func(thread string) {
		text, err := readSmall(dir + "/" + thread + "/children")
		if err != nil {
			return // it has ended
		}
		for _, n := range ids(text) {
			all = append(all, int(n))
		}
	}
	var st unix.Stat_t
	if unix.Stat(dir, &st) == nil && st.Nlink == 3 { // a directory for each thread
		add(strconv.Itoa(pid))
		return all
	}
	threads, err := os.ReadDir(dir)
	if err != nil {
		return nil // it has ended
	}
	for _, t := range threads {
		add(t.Name())
	}
	return all
}

// node looks at one process; nil when it has ended.
func node(pid int) *Node {
	t := &target{pid: pid, pidfd: -1, dir: -1}
	defer t.close()
	if t.open() != nil {
		return nil
	}
	s, err := t.status("status")
	if err != nil {
		return nil
	}
	t.leader = s
	t.dumpable()
	n := &Node{PID: pid, PIDs: s.pids, Name: s.name, State: s.state, parent: s.parent, Children: []*Node{}, Unread: []Unread{}}
	n.Command = t.command()
	n.Threads = t.threads(t.namespaces(), t.labels("attr/"))
	n.Unread = append(n.Unread, t.unread...)
	return n
}

// hiddenAbove are the processes above one that are in the same pid namespace.
func hiddenAbove(s status) (pids []int) {
	for {
		up, err := statusOf(s.parent)
		if err != nil || len(up.pids) != len(s.pids) {
			return pids
		}
		pids = append(pids, s.parent)
		s = up
	}
}

func statusOf(pid int) (status, error) {
	text, err := readSmall("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return status{}, err
	}
	return parseStatus(text), nil
}

// FirstChild is the oldest child of a process of one thread; 0: it has none.
func FirstChild(pid int) int {
	n := strconv.Itoa(pid)
	text, err := readSmall("/proc/" + n + "/task/" + n + "/children")
	if err != nil {
		return 0
	}
	word, _, _ := strings.Cut(text, " ")
	child, _ := strconv.Atoi(word)
	return child
}

// PIDs are the numbers of a process in each pid namespace that it is in, from the caller's
// inwards; nil when there is no such process.
func PIDs(pid int) []int {
	s, err := statusOf(pid)
	if err != nil {
		return nil
	}
	return s.pids
}

// SamePIDNamespace reports whether two processes are known to be in one pid namespace that is
// not the caller's.
func SamePIDNamespace(a, b int) bool {
	its := nsOf("/proc/" + strconv.Itoa(a) + "/ns/pid")
	if its == 0 { // pid 1 of a sandbox shows it to root alone; its child shares it
		for _, child := range Children(a) {
			if its = nsOf("/proc/" + strconv.Itoa(child) + "/ns/pid"); its != 0 {
				break
			}
		}
	}
	return its != 0 && its != nsOf("/proc/self/ns/pid") && its == nsOf("/proc/"+strconv.Itoa(b)+"/ns/pid")
}
