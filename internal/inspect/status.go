package inspect

import (
	"strconv"
	"strings"
)

// status is what proc_pid_status(5) tells of a process or thread. Everybody may read it.
type status struct {
	name   string
	state  string
	tgid   int
	parent int
	tracer int
	pids   []int // NSpid

	ids      IDs
	caps     Capabilities
	noNew    bool
	seccomp  Seccomp
	dumpable Dumpable // set by who knows
}

// IDs are the credentials of a thread, as the caller's user namespace names them.
type IDs struct {
	UIDs   [4]uint32 `json:"uids"` // real, effective, saved set, file system
	GIDs   [4]uint32 `json:"gids"`
	Groups []uint32  `json:"groups"` // supplementary
}

// Seccomp is the state of seccomp(2) on a thread.
type Seccomp struct {
	Mode    string `json:"mode"`    // "none", "strict", "filter"
	Filters int    `json:"filters"` // -1: the kernel does not tell (before Linux 5.9)
}

func parseStatus(text string) status {
	var s status
	s.seccomp = Seccomp{Mode: "none", Filters: -1}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			s.name = unescapeName(strings.TrimSuffix(strings.TrimPrefix(line, "Name:\t"), "\n"))
		case "State":
			_, word, _ := strings.Cut(value, "(")
			s.state = strings.TrimSuffix(word, ")")
		case "Tgid":
			s.tgid, _ = strconv.Atoi(value)
		case "PPid":
			s.parent, _ = strconv.Atoi(value)
		case "TracerPid":
			s.tracer, _ = strconv.Atoi(value)
		case "NSpid":
			for _, n := range ids(value) {
				s.pids = append(s.pids, int(n))
			}
		case "Uid":
			copy(s.ids.UIDs[:], ids(value))
		case "Gid":
			copy(s.ids.GIDs[:], ids(value))
		case "Groups":
			s.ids.Groups = ids(value)
		case "CapInh":
			s.caps.Inheritable = capSet(value)
		case "CapPrm":
			s.caps.Permitted = capSet(value)
		case "CapEff":
			s.caps.Effective = capSet(value)
		case "CapBnd":
			s.caps.Bounding = capSet(value)
		case "CapAmb":
			s.caps.Ambient = capSet(value)
		case "NoNewPrivs":
			s.noNew = value == "1"
		case "Seccomp":
			s.seccomp.Mode = seccompMode(value)
		case "Seccomp_filters":
			s.seccomp.Filters, _ = strconv.Atoi(value)
		}
	}
	if s.seccomp.Mode == "none" {
		s.seccomp.Filters = max(0, s.seccomp.Filters)
	}
	return s
}

func seccompMode(value string) string {
	switch value {
	case "1":
		return "strict"
	case "2":
		return "filter"
	}
	return "none"
}

func ids(list string) []uint32 {
	all := []uint32{}
	for f := range strings.FieldsSeq(list) {
		if n, err := strconv.ParseUint(f, 10, 32); err == nil {
			all = append(all, uint32(n))
		}
	}
	return all
}

// unescapeName undoes what status does to a name: \n and \\.
func unescapeName(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(s)
}

// status reads a file of this kind below /proc/PID.
func (t *target) status(name string) (status, error) {
	text, err := t.read(name)
	if err != nil {
		return status{}, t.gone()
	}
	return parseStatus(text), nil
}

// IDRange is a line of a uid_map or gid_map, user_namespaces(7).
type IDRange struct {
	Inside  uint32 `json:"inside"`
	Outside uint32 `json:"outside"` // in the caller's user namespace
	Count   uint32 `json:"count"`
}

func (t *target) idMap(name string) []IDRange {
	text, err := t.read(name)
	if err != nil {
		t.missed("its "+name, err)
		return nil
	}
	all := []IDRange{}
	for line := range strings.Lines(text) {
		if f := ids(line); len(f) == 3 {
			all = append(all, IDRange{f[0], f[1], f[2]})
		}
	}
	return all
}

// Inside is what an id of the caller's user namespace is called inside of a map.
func Inside(m []IDRange, id uint32) (inside uint32, ok bool) {
	for _, r := range m {
		if id >= r.Outside && id-r.Outside < r.Count {
			return r.Inside + (id - r.Outside), true
		}
	}
	return 0, false
}
