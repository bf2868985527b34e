// Package inspect tells what confines a process: any process of the machine, as
// /proc and a pidfd show it to the caller. See proc(5), namespaces(7),
// capabilities(7), credentials(7), cgroups(7).
//
// The directory of the process in /proc is opened once. Its descriptor belongs to the
// process and not to the number: when that has ended, everything below answers
// ESRCH, also when the number was used again.
//
// What can't be read is part of the answer, with the reason and the remedy.
package inspect

import (
	"time"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Process is a process and what confines it.
type Process struct {
	PID     int       `json:"pid"`  // as the caller sees it
	Name    string    `json:"name"` // comm: at most 15 bytes, chosen by the process
	Command []string  `json:"command"`
	State   string    `json:"state"` // such as "sleeping", proc_pid_status(5)
	Parent  int       `json:"parent"`
	PIDs    []int     `json:"pids"` // in each pid namespace that it is in, from the caller's inwards
	Tracer  int       `json:"tracer,omitempty"`
	Started time.Time `json:"started"`

	Exe  string `json:"exe,omitempty"`
	Root string `json:"root,omitempty"`
	Cwd  string `json:"cwd,omitempty"`

	Dumpable   Dumpable    `json:"dumpable"`
	Namespaces []Namespace `json:"namespaces"`
	UIDMap     []IDRange   `json:"uid_map"`
	GIDMap     []IDRange   `json:"gid_map"`
	Setgroups  string      `json:"setgroups,omitempty"` // "allow" or "deny", user_namespaces(7)

	Thread  `json:"credentials"` // of the thread that the process began with
	Threads []Thread             `json:"threads"` // all, that one included, by tid

	Landlock Landlock `json:"landlock"`
	Labels   []Label  `json:"labels"`

	Cgroups  []cgroup.Reading `json:"cgroups"`
	Writable []Mount          `json:"writable_mounts"`
	Outward  []File           `json:"outward_fds"` // descriptors that lead out, or may
	Files    int              `json:"fds"`         // how many are open; -1: not known

	// Unread is what the caller may not see.
	Unread []Unread `json:"unread"`
	// Sandbox is set for a process of one of Cloche's.
	Sandbox *Sandbox `json:"sandbox,omitempty"`
}

// Unread is something that could not be read.
type Unread struct {
	What   []string `json:"what"`
	Cause  string   `json:"cause"`
	Remedy string   `json:"remedy"`
}

// Answer is yes, no, or unknown to this caller.
type Answer string

// The values of Answer.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

func answer(b bool) Answer {
	if b {
		return Yes
	}
	return No
}

// Look inspects the process pid. A tid of another thread than the first stands for its
// process. start, if it is not 0, is when the process that is meant has started
// (field 22 of proc_pid_stat(5)): with another it is a stranger with its number.
func Look(pid int, start uint64) (*Process, error) {
	t, err := open(pid, start)
	if err != nil {
		return nil, err
	}
	defer t.close()
	return t.look()
}

func (t *target) look() (*Process, error) {
	p := &Process{PID: t.pid, Started: t.started(), Files: -1}
	status, err := t.status("status")
	if err != nil {
		return nil, err
	}
	t.leader = status
	p.Name, p.State, p.Parent, p.PIDs, p.Tracer = status.name, status.state, status.parent, status.pids, status.tracer
	p.Thread = status.thread(t.pid)
	p.Command = t.command()
	p.Dumpable = t.dumpable()
	p.Exe, p.Root, p.Cwd = t.link("exe", "its executable"), t.link("root", "its root directory"), t.link("cwd", "its working directory")
	p.Namespaces = t.namespaces()
	p.UIDMap, p.GIDMap = t.idMap("uid_map"), t.idMap("gid_map")
	p.Setgroups = t.word("setgroups", "whether it may call setgroups(2)")
	p.Labels = t.labels("attr/")
	p.Landlock = landlock()
	p.Cgroups = t.cgroups()
	mounts := t.mounts()
	p.Writable = writable(mounts)
	p.Outward, p.Files = t.files(mounts, p.Namespaces, p.Root)
	p.Threads = t.threads(p.Namespaces, p.Labels)
	if err := t.alive(); err != nil {
		return nil, err
	}
	p.Unread = t.unread
	return p, nil
}

// Sandbox is the sandbox of Cloche that a process belongs to.
type Sandbox struct {
	Name     string   `json:"name"`
	Mismatch []string `json:"mismatch"` // where the process is confined less than its policy says
}
