package attack

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Limits hold for what is in a cgroup. Whoever can write to another's cgroup.procs is
// out of its own: uid 0 of the host may, whatever its capabilities. One that the
// outside makes is the goal here.
var leaveCgroup = Attack{
	Name: "leave-cgroup", Group: "limits", Reference: "cgroups(7) cgroup.procs",
	Tries: "move to a cgroup that has no limit",
	Stops: []Stop{{NoSys, "ENOENT"}, {delegation, "ENOENT"}},
	Needs: func() string {
		if ownCgroupDir() == "" {
			return "no directory of this process's cgroup is to be found below /sys/fs/cgroup"
		}
		return onlyRoot("an ordinary user may move to no cgroup of root's in any case")()
	},
	Outside: func(o *Outside) error {
		dir := filepath.Join(ownCgroupDir(), "cloche-attack-"+strconv.Itoa(os.Getpid())+"-"+filepath.Base(o.Dir))
		o.Tell("path", filepath.Join(dir, "cgroup.procs"))
		o.Defer(func() { _ = os.Remove(dir) })
		return os.Mkdir(dir, 0o755)
	},
	Inside: func(in *Inside) error {
		f, err := os.OpenFile(in.Arg("path"), os.O_WRONLY, 0)
		if err != nil {
			return Failed(err)
		}
		defer f.Close()
		if _, err := f.WriteString("0"); err != nil {
			return Failed(err)
		}
		return nil
	},
}

// delegation: cgroup v2 mounted with nsdelegate lets nobody move out of their cgroup
// namespace, cgroups(7).
var delegation = &Layer{Name: "cgroup namespace, of cgroup v2", Off: []string{"share cgroup"}, Missing: func() string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " - cgroup2 ") && strings.Contains(line, "nsdelegate") && strings.HasPrefix(ownCgroupDir(), strings.Fields(line)[4]) {
			return ""
		}
	}
	return "the hierarchy is not mounted with nsdelegate"
}}

// ownCgroupDir is the directory of this process's cgroup: of the pids controller's
// hierarchy, or of the one hierarchy of cgroup v2.
func ownCgroupDir() string {
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || part[1] != "pids" && part[1] != "" {
			continue
		}
		dir := filepath.Join("/sys/fs/cgroup", part[1], part[2])
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir
		}
	}
	return ""
}
