package inspect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Thread is what the kernel keeps for each thread, not for the process.
type Thread struct {
	TID  int    `json:"tid"`
	Name string `json:"name"`
	IDs
	Capabilities Capabilities `json:"capabilities"`
	NoNewPrivs   bool         `json:"no_new_privs"`
	Seccomp      Seccomp      `json:"seccomp"`

	// Differs is what this thread has otherwise than most of its siblings, in words; where
	// as many have it one way as the other, than the first thread.
	Differs []string `json:"differs,omitempty"`

	traits [nTraits]string
}

// thread is a status as that of a thread.
func (s *status) thread(tid int) Thread {
	return Thread{TID: tid, Name: s.name, IDs: s.ids, Capabilities: s.caps, NoNewPrivs: s.noNew, Seccomp: s.seccomp}
}

// The traits that threads are compared by.
const (
	traitUIDs = iota
	traitGIDs
	traitGroups
	traitInheritable
	traitPermitted
	traitEffective
	traitBounding
	traitAmbient
	traitNoNewPrivs
	traitSeccomp
	traitNamespaces
	traitLabels
	traitCgroups
	nTraits
)

var traitNames = [nTraits]string{
	"uids", "gids", "groups", "inheritable", "permitted", "effective", "bounding", "ambient",
	"no_new_privs", "seccomp", "namespaces", "labels", "cgroups",
}

// threads looks at each. One that ends meanwhile is left out, and it is looked again until
// no new one appeared: a thread that was not seen may have made it.
func (t *target) threads(namespaces []Namespace, labels []Label) []Thread {
	seen := map[int]bool{}
	all := []Thread{}
	for range 16 {
		tids, err := t.numbers("task")
		if err != nil {
			t.missed("its threads", err)
			return all
		}
		fresh := false
		for _, tid := range tids {
			if seen[tid] {
				continue
			}
			fresh, seen[tid] = true, true
			if th, ok := t.thread(tid, namespaces, labels); ok {
				all = append(all, th)
			}
		}
		if !fresh {
			break
		}
	}
	slices.SortFunc(all, func(a, b Thread) int { return a.TID - b.TID })
	mark(all, t.pid)
	return all
}

func (t *target) thread(tid int, namespaces []Namespace, labels []Label) (Thread, bool) {
	dir := "task/" + strconv.Itoa(tid) + "/"
	s, err := t.status(dir + "status")
	if err != nil {
		return Thread{}, false
	}
	th := s.thread(tid)
	c := &th.Capabilities
	th.traits = [nTraits]string{
		traitUIDs:        fmt.Sprint(th.UIDs),
		traitGIDs:        fmt.Sprint(th.GIDs),
		traitGroups:      fmt.Sprint(th.Groups),
		traitInheritable: c.Inheritable.String(),
		traitPermitted:   c.Permitted.String(),
		traitEffective:   c.Effective.String(),
		traitBounding:    c.Bounding.String(),
		traitAmbient:     c.Ambient.String(),
		traitNoNewPrivs:  fmt.Sprint(th.NoNewPrivs),
		traitSeccomp:     th.Seccomp.String(),
	}
	// What follows may be another for a thread that called unshare(2) or setns(2), wrote its
	// tid to a cgroup, or changed its label. For the first thread it is known already.
	th.traits[traitNamespaces] = t.nsTrait(dir, namespaces)
	if len(labels) > 0 {
		th.traits[traitLabels] = fmt.Sprint(t.labels(dir + "attr/"))
	}
	if text, err := t.read(dir + "cgroup"); err == nil {
		th.traits[traitCgroups] = strings.TrimSpace(strings.ReplaceAll(text, "\n", " "))
	}
	return th, true
}

// nsTrait names the namespaces of a thread that are not those of the process, by number.
func (t *target) nsTrait(dir string, process []Namespace) string {
	var other []string
	for _, n := range nsTypes {
		link, err := t.readlink(dir + "ns/" + n[1])
		if err != nil {
			if err != unix.ENOENT {
				t.missed("the namespaces of its threads", err)
			}
			continue
		}
		if nsNumber(link) != inode(process, n[0]) {
			other = append(other, link)
		}
	}
	if other == nil {
		return "those of the process"
	}
	return strings.Join(other, " ")
}

// String is such as "filter, 2 filters".
func (s Seccomp) String() string {
	switch {
	case s.Mode != "filter":
		return s.Mode
	case s.Filters < 0:
		return "filter"
	case s.Filters == 1:
		return "filter, 1 filter"
	}
	return fmt.Sprintf("filter, %d filters", s.Filters)
}

// mark fills Differs.
func mark(all []Thread, leader int) {
	for trait := range nTraits {
		count := map[string]int{}
		usual := ""
		for i := range all {
			count[all[i].traits[trait]]++
			if all[i].TID == leader {
				usual = all[i].traits[trait]
			}
		}
		for _, th := range all { // in order of tid, so that the answer is the same each time
			if v := th.traits[trait]; count[v] > count[usual] {
				usual = v
			}
		}
		for i := range all {
			if v := all[i].traits[trait]; v != usual {
				all[i].Differs = append(all[i].Differs, traitNames[trait]+" "+v+" (its siblings: "+usual+")")
			}
		}
	}
}
