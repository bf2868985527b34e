package engines

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// remember keeps what is in the machine while no container is: what a runtime leaves comes on
// top of it.
func (m *machine) remember(state ...string) {
	m.before = m.things(state)
}

// kept are what an engine makes the first time that it is of use, and keeps.
var kept = []string{"mount /run/docker/netns/default", "interface docker_gwbridge"}

// settled fails a test when, with all containers removed, the machine holds more than before:
// processes, mounts, cgroups, interfaces, or a file below one of the folders of state.
func (m *machine) settled(t testing.TB, state ...string) {
	t.Helper()
	var more []string
	for deadline := time.Now().Add(130 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		more = more[:0]
		before := slices.Clone(m.before)
		for _, thing := range m.things(state) {
			if i := slices.Index(before, thing); i >= 0 {
				before = slices.Delete(before, i, i+1)
				continue
			}
			if !slices.Contains(kept, thing) {
				more = append(more, thing)
			}
		}
		if len(more) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(more) > 0 {
		t.Errorf("with all containers removed there is still\n  %s", strings.Join(more, "\n  "))
	}
}

// path is a path in the machine as the tests see it.
func (m *machine) path(name string) string { return fmt.Sprintf("/proc/%d/root%s", m.pid, name) }

// things are a machine's processes, mounts, cgroups, interfaces and files of state.
func (m *machine) things(state []string) []string {
	var list []string
	for _, p := range m.processes() {
		list = append(list, "process "+p.name)
	}
	if f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", m.pid)); err == nil {
		for s := bufio.NewScanner(f); s.Scan(); {
			if fields := strings.Fields(s.Text()); len(fields) > 4 {
				list = append(list, "mount "+fields[4])
			}
		}
		f.Close()
	}
	for _, h := range hierarchies() {
		top := filepath.Join(h.own(), m.cgroup)
		_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			// An engine's own parent of all containers may stay: /docker, /k8s.io.
			// So may a pod's, in the hierarchies that Podman does not know.
			rel, _ := filepath.Rel(top, p)
			pod := strings.HasPrefix(rel, "libpod_parent/") && strings.Count(rel, "/") == 1
			if err == nil && d.IsDir() && strings.Contains(rel, "/") && !pod {
				list = append(list, "cgroup "+p)
			}
			return nil
		})
	}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", m.pid)); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, _, ok := strings.Cut(line, ":"); ok {
				list = append(list, "interface "+strings.TrimSpace(name))
			}
		}
	}
	for _, dir := range state {
		_ = filepath.WalkDir(m.path(dir), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "seccomp~cache" { // compiled filters, for the next container
				return fs.SkipDir
			}
			if err == nil && p != m.path(dir) {
				list = append(list, "file "+strings.TrimPrefix(p, m.path("")))
			}
			return nil
		})
	}
	return list
}

type process struct {
	pid  int
	name string
}

// processes are those of the machine's pid namespace and the ones below it.
func (m *machine) processes() []process {
	var list []process
	dirs, _ := filepath.Glob(m.path("/proc/[0-9]*"))
	for _, d := range dirs {
		var p process
		name, err := os.ReadFile(d + "/comm")
		if err != nil {
			continue
		}
		if _, err := fmt.Sscan(filepath.Base(d), &p.pid); err != nil {
			continue
		}
		p.name = strings.TrimSpace(string(name))
		list = append(list, p)
	}
	return list
}
