package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// stateJSON is the state as engines read it.
func (r *runtimeOf) state(id string) (s containerState) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.ok("state", id)), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// TestLifecycle takes a container through all that a command can do with it, and
// has every command refused that does not fit.
func TestLifecycle(t *testing.T) {
	r := newRuntime(t)
	id := "cloche-test-" + strconv.Itoa(os.Getpid())
	dir := bundle(t, func(s *specs.Spec) {
		s.Annotations = map[string]string{"org.example": "x"}
		s.Linux.CgroupsPath = "/" + id
	})
	for _, verb := range []string{"start", "state", "kill", "delete", "pause", "resume", "ps", "update", "events"} {
		r.refused(1, "container does not exist", verb, id)
	}
	r.refused(255, "exec failed: container does not exist", "exec", id, "true")
	if out, status := r.do("delete", "--force", id); status != 0 {
		t.Errorf("delete --force of nothing: %s", out)
	}
	r.refused(1, "invalid container ID format", "create", "--bundle", dir, "../x")
	r.refused(1, "cloche-oci create failed: ", "create", "--bundle", "/nonexistent", id)

	pidFile := filepath.Join(t.TempDir(), "pid")
	r.ok("create", "--bundle", dir, "--pid-file", pidFile, id)
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	s := r.state(id)
	created := s.Created
	want := containerState{Version: specs.Version, ID: id, Status: "created", Bundle: dir, Rootfs: filepath.Join(dir, "rootfs"), Annotations: map[string]string{"org.example": "x"}, Owner: "root"}
	want.Pid, _ = strconv.Atoi(string(pid))
	want.Created = created
	if diff := cmp.Diff(want, s); diff != "" || time.Since(created) > time.Minute {
		t.Errorf("state after create: %s", diff)
	}
	r.refused(1, "container with given ID already exists", "create", "--bundle", dir, id)
	r.refused(1, "container not paused", "resume", id)

	r.ok("start", id)
	if s := r.state(id); s.Status != "running" {
		t.Errorf("status after start: %s", s.Status)
	}
	r.refused(1, "cannot start an already running container", "start", id)
	r.refused(1, "cannot delete container "+id+" that is not stopped: running", "delete", id)

	var listed []containerState
	if err := json.Unmarshal([]byte(r.ok("list", "--format", "json")), &listed); err != nil || len(listed) != 1 || listed[0].ID != id || listed[0].Status != "running" {
		t.Errorf("list: %+v, %v", listed, err)
	}
	if out := r.ok("list", "-q"); out != id+"\n" {
		t.Errorf("list -q: %q", out)
	}
	r.refused(1, "invalid format option", "list", "-f", "xml")
	var pids []int
	if err := json.Unmarshal([]byte(r.ok("ps", "-f", "json", id)), &pids); err != nil || len(pids) != 1 || pids[0] != want.Pid {
		t.Errorf("ps: %v, %v", pids, err)
	}
	if out := r.ok("ps", id, "-o", "pid,args"); !strings.Contains(out, "sleep 100") || strings.Count(out, "\n") != 2 {
		t.Errorf("ps as a table: %q", out)
	}
	if out, status := r.do("exec", id, "sh", "-c", "cat /proc/self/cgroup; exit 7"); status != 7 || strings.Count(out, ":/\n") != strings.Count(out, "\n") {
		t.Errorf("exec: exit %d: %s", status, out)
	}

	r.ok("pause", id)
	if s := r.state(id); s.Status != "paused" {
		t.Errorf("status after pause: %s", s.Status)
	}
	r.refused(1, "container paused", "pause", id)
	r.refused(255, "cannot exec in a paused container (use --ignore-paused to override)", "exec", id, "true")
	r.ok("resume", id)
	if s := r.state(id); s.Status != "running" {
		t.Errorf("status after resume: %s", s.Status)
	}

	r.refused(1, `unknown signal "BOGUS"`, "kill", id, "BOGUS")
	r.ok("kill", id, "KILL")
	for end := time.Now().Add(30 * time.Second); r.state(id).Status != "stopped"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not stop")
		}
	}
	if s := r.state(id); s.Pid != 0 {
		t.Errorf("a stopped container has the pid %d", s.Pid)
	}
	r.refused(1, "container not running", "kill", id)
	r.refused(1, "container not running", "pause", id)
	r.refused(1, "cannot start a container that has stopped", "start", id)
	r.refused(255, "cannot exec in a stopped container", "exec", id, "true")
	r.refused(1, "container with id "+id+" is not running", "events", "--stats", id)
	r.ok("kill", "--all", id, "KILL")
	r.ok("delete", id)
	r.refused(1, "container does not exist", "state", id)
	for _, c := range []string{"memory", "pids", "unified", ""} {
		if _, err := os.Stat(filepath.Join("/sys/fs/cgroup", c, id)); err == nil {
			t.Errorf("a cgroup is left behind in %q", c)
		}
	}
}

// TestUpdate changes limits by flags, and as engines do by a document on standard input.
func TestUpdate(t *testing.T) {
	r := newRuntime(t)
	id := "cloche-test-update-" + strconv.Itoa(os.Getpid())
	dir := bundle(t, func(s *specs.Spec) { s.Linux.CgroupsPath = "/" + id })
	r.ok("run", "--detach", "--bundle", dir, id)
	c, err := load(&Global{Root: r.root}, id)
	if err != nil {
		t.Fatal(err)
	}
	g := c.cgroup()
	defer g.Close()
	read := func(controller, v1, v2 string) string {
		t.Helper()
		for _, file := range []string{v1, v2} {
			if data, err := os.ReadFile(filepath.Join(g.Path(controller), file)); err == nil {
				return strings.TrimSpace(string(data))
			}
		}
		t.Fatalf("neither %s nor %s in %s", v1, v2, g.Path(controller))
		return ""
	}
	r.ok("update", "--memory", "64m", "--pids-limit", "10", "--cpu-quota", "50000", "--cpu-share", "512", id)
	if got := read("memory", "memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("memory: %s", got)
	}
	if got := read("pids", "pids.max", ""); got != "10" {
		t.Errorf("pids: %s", got)
	}
	if got := read("cpu", "cpu.cfs_quota_us", "cpu.max"); got != "50000" && got != "50000 100000" {
		t.Errorf("cpu: %s", got)
	}
	if out, status := r.feed(`{"memory":{"limit":33554432,"checkBeforeUpdate":true},"cpu":{"cpus":"0"}}`, "update", "--resources", "-", id); status != 0 {
		t.Errorf("update --resources -: %s", out)
	}
	if got := read("memory", "memory.limit_in_bytes", "memory.max"); got != "33554432" {
		t.Errorf("memory: %s", got)
	}
	if got := read("pids", "pids.max", ""); got != "10" {
		t.Errorf("pids changed with the memory: %s", got)
	}
	for _, bad := range []string{`{"memory":{"limit":"1"}}`, "[", `{"cpu":{"cpus":"4095"}}`, `{"memory":{"limit":1e30}}`} {
		if out, status := r.feed(bad, "update", "-r", "-", id); status != 1 {
			t.Errorf("%s: exit %d, %s", bad, status, out)
		}
	}
	r.refused(1, "Intel RDT is not supported", "update", "--l3-cache-schema", "L3:0=f", id)
}

// TestOOMEvent: the kernel kills in a container, and events says so.
func TestOOMEvent(t *testing.T) {
	r := newRuntime(t)
	id := "cloche-test-oom-" + strconv.Itoa(os.Getpid())
	limit := int64(16 << 20)
	dir := bundle(t, func(s *specs.Spec) {
		s.Linux.CgroupsPath = "/" + id
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
		s.Process.Args = []string{"sh", "-c", "sleep 0.5; head -c 67108864 /dev/zero | tail -n1 >/dev/null; sleep 0.2"}
	})
	r.ok("run", "--detach", "--bundle", dir, id)
	done := make(chan string, 1)
	go func() {
		out, _ := r.do("events", "--interval", "1h", id)
		done <- out
	}()
	for end := time.Now().Add(time.Minute); r.state(id).Status != "stopped"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not stop")
		}
	}
	r.ok("delete", id)
	select {
	case out := <-done:
		if want := fmt.Sprintf(`{"type":"oom","id":%q}`, id); !strings.Contains(out, want) {
			t.Errorf("events: %s, want %s", out, want)
		}
	case <-time.After(10 * time.Second):
		t.Error("events does not end with the container")
	}
}

// TestNotSupported: what is not there says so, and what is no command has a status
// of its own.
func TestNotSupported(t *testing.T) {
	r := newRuntime(t)
	r.refused(1, "checkpoint is not supported: ", "checkpoint", "--image-path", "/x", "id")
	r.refused(1, "restore is not supported: ", "restore", "--detach", "id")
	r.refused(3, "No help topic for 'frobnicate'", "frobnicate")
	r.refused(1, "flag provided but not defined: -bogus", "create", "--bogus", "id")
	if out := r.ok("--version"); !strings.HasPrefix(out, "cloche-oci version ") || !strings.Contains(out, "\nspec: "+specs.Version+"\n") {
		t.Errorf("--version: %s", out)
	}
	var f map[string]any
	if err := json.Unmarshal([]byte(r.ok("features")), &f); err != nil || f["ociVersionMax"] != specs.Version {
		t.Errorf("features: %v", err)
	}
	dir := t.TempDir()
	r.ok("spec", "--bundle", dir)
	if _, _, err := readBundle(dir); err != nil {
		t.Error(err)
	}
	r.refused(1, "File config.json exists. Remove it first", "spec", "--bundle", dir)
}

// TestStats: what a container uses, in the form that engines read.
func TestStats(t *testing.T) {
	r := newRuntime(t)
	id := "cloche-test-stats-" + strconv.Itoa(os.Getpid())
	limit := int64(64 << 20)
	dir := bundle(t, func(s *specs.Spec) {
		s.Linux.CgroupsPath = "/" + id
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	})
	r.ok("run", "--detach", "--bundle", dir, id)
	var e struct {
		Type, ID string
		Data     struct {
			CPU    struct{ Usage struct{ Total uint64 } }
			Memory struct {
				Usage struct{ Limit, Usage uint64 }
				Raw   map[string]uint64
			}
			Pids struct{ Current uint64 }
		}
	}
	if err := json.Unmarshal([]byte(r.ok("events", "--stats", id)), &e); err != nil {
		t.Fatal(err)
	}
	d := &e.Data
	if e.Type != "stats" || e.ID != id || d.CPU.Usage.Total == 0 || d.Memory.Usage.Limit != 64<<20 || d.Memory.Usage.Usage == 0 || len(d.Memory.Raw) == 0 || d.Pids.Current != 1 {
		t.Errorf("%+v", e)
	}
	r.refused(1, "duration interval must be greater than 0", "events", "--interval", "0s", id)
}

// TestSystemdCgroup has systemd make the cgroup, as engines ask for it by a flag
// of every command.
func TestSystemdCgroup(t *testing.T) {
	r := newRuntime(t)
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		dir := bundle(t, nil)
		r.refused(1, "--systemd-cgroup: systemd does not run this machine", "--systemd-cgroup", "create", "--bundle", dir, "id")
		needs.Elsewhere(t, "this machine has no systemd")
	}
	name := "cloche-test-" + strconv.Itoa(os.Getpid())
	limit := int64(64 << 20)
	dir := bundle(t, func(s *specs.Spec) {
		s.Linux.CgroupsPath = "system.slice:cloche:" + name
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	})
	r.ok("--systemd-cgroup", "create", "--bundle", dir, name)
	r.ok("--systemd-cgroup", "start", name)
	c, err := load(&Global{Root: r.root}, name)
	if err != nil {
		t.Fatal(err)
	}
	if c.Cgroup.Unit != "cloche-"+name+".scope" || len(c.Cgroup.Dirs) == 0 {
		t.Fatalf("%+v", c.Cgroup)
	}
	if out, status := r.do("--systemd-cgroup", "exec", name, "sh", "-c", "cat /proc/self/cgroup"); status != 0 || !strings.HasSuffix(out, ":/\n") {
		t.Errorf("exec: exit %d: %s", status, out)
	}
	r.ok("--systemd-cgroup", "pause", name)
	r.ok("--systemd-cgroup", "resume", name)
	r.ok("--systemd-cgroup", "update", "--memory", "32m", name)
	if data, err := os.ReadFile(filepath.Join(c.Cgroup.Dirs[0].Path, "memory.max")); c.Cgroup.Dirs[0].V2 && string(data) != "33554432\n" {
		t.Errorf("memory.max: %s, %v", data, err)
	}
	r.ok("--systemd-cgroup", "kill", name, "9")
	r.ok("--systemd-cgroup", "delete", "--force", name)
	for _, d := range c.Cgroup.Dirs {
		if _, err := os.Stat(d.Path); err == nil {
			t.Errorf("%s is left behind", d.Path)
		}
	}
}

// TestDamaged: a container whose state is not its own hides no others from list,
// and is taken away by force.
func TestDamaged(t *testing.T) {
	r := newRuntime(t)
	id := "cloche-test-whole-" + strconv.Itoa(os.Getpid())
	dir := bundle(t, func(s *specs.Spec) { s.Linux.CgroupsPath = "/" + id })
	r.ok("create", "--bundle", dir, id)
	for name, text := range map[string]string{"other": `{"id":"x"}`, "half": `{"id":"ha`, "empty": ""} {
		if err := os.Mkdir(filepath.Join(r.root, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(r.root, name, stateFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := r.ok("list", "-q"); out != id+"\n" {
		t.Errorf("list -q: %q", out)
	}
	r.refused(1, filepath.Join(r.root, "other", stateFile)+`: it is about the container "x"`, "state", "other")
	r.refused(1, "container does not exist", "state", "empty")
	for _, name := range []string{"other", "half", "empty"} {
		_, _ = r.do("delete", "--force", name)
		if _, err := os.Stat(filepath.Join(r.root, name)); err == nil {
			t.Errorf("%s is left behind", name)
		}
	}
}
