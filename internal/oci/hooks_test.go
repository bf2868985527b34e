package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestHooks: each at its time, in its namespaces, with the state on its input.
func TestHooks(t *testing.T) {
	r := newRuntime(t)
	said := filepath.Join(t.TempDir(), "said")
	busybox := "/bin/busybox"
	if _, err := os.Stat(busybox); err != nil {
		busybox = "/usr/bin/busybox"
	}
	say := func(name, shell string) specs.Hook {
		return specs.Hook{Path: shell, Args: []string{"sh", "-c", `read s; echo "` + name + ` $(hostname) $X $s" >> ` + said}, Env: []string{"X=1", "PATH=/bin:/usr/bin"}}
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	b := bundle(t, func(s *specs.Spec) {
		s.Root.Readonly = false
		s.Hostname = "inside"
		s.Annotations = map[string]string{"a": "b"}
		s.Process.Args = []string{"true"}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: filepath.Dir(said), Source: filepath.Dir(said), Options: []string{"rbind"}})
		s.Hooks = &specs.Hooks{
			//lint:ignore SA1019 engines still use it
			Prestart:        []specs.Hook{say("prestart", busybox)},
			CreateRuntime:   []specs.Hook{say("createRuntime", busybox)},
			CreateContainer: []specs.Hook{say("createContainer", busybox)},
			StartContainer:  []specs.Hook{say("startContainer", "/bin/sh")},
			Poststart:       []specs.Hook{say("poststart", busybox)},
			Poststop:        []specs.Hook{say("poststop", busybox)},
		}
	})
	expect := func(names ...string) {
		t.Helper()
		text, err := os.ReadFile(said)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(names) {
			t.Fatalf("%d hooks have run, want %d: %s", len(lines), len(names), text)
		}
		for i, line := range lines {
			f := strings.SplitN(line, " ", 4)
			host := own
			if strings.HasSuffix(f[0], "Container") {
				host = "inside"
			}
			var s specs.State
			if err := json.Unmarshal([]byte(f[3]), &s); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			want := map[string]specs.ContainerState{"startContainer": "created", "poststart": "running", "poststop": "stopped"}[f[0]]
			if want == "" {
				want = "creating"
			}
			if f[0] != names[i] || f[1] != host || f[2] != "1" || s.Status != want || s.ID != "cloche-hooks" || s.Annotations["a"] != "b" || s.Bundle != b || (s.Pid == 0) != (want == "stopped") {
				t.Errorf("hook %d: %s", i, line)
			}
		}
	}
	r.ok("create", "--bundle", b, "cloche-hooks")
	expect("prestart", "createRuntime", "createContainer")
	r.ok("start", "cloche-hooks")
	expect("prestart", "createRuntime", "createContainer", "startContainer", "poststart")
	r.ok("delete", "--force", "cloche-hooks")
	expect("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
	// And where nothing waits for start.
	if err := os.Remove(said); err != nil {
		t.Fatal(err)
	}
	r.ok("run", "--bundle", b, "cloche-hooks")
	expect("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
}

// TestFailingHooks: a hook that fails or takes too long takes the container with it.
func TestFailingHooks(t *testing.T) {
	r := newRuntime(t)
	one := 1
	bad := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo this is why >&2; exit 3"}}}
	slow := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "exec sleep 100"}, Env: []string{"PATH=/bin:/usr/bin"}, Timeout: &one}}
	none := []specs.Hook{{Path: "/nowhere"}}
	for name, c := range map[string]struct {
		hooks specs.Hooks
		want  string
	}{
		"createRuntime":       {specs.Hooks{CreateRuntime: bad}, "this is why"},
		"createContainer":     {specs.Hooks{CreateContainer: bad}, "this is why"},
		"startContainer":      {specs.Hooks{StartContainer: bad}, "this is why"},
		"poststart":           {specs.Hooks{Poststart: bad}, "this is why"},
		"createRuntime slow":  {specs.Hooks{CreateRuntime: slow}, "timeout of 1s"},
		"startContainer slow": {specs.Hooks{StartContainer: slow}, "timeout of 1s"},
		"missing":             {specs.Hooks{CreateRuntime: none}, "/nowhere"},
		"missing inside":      {specs.Hooks{StartContainer: none}, "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bundle(t, func(s *specs.Spec) { s.Hooks = &c.hooks })
			r.refused(1, c.want, "run", "--detach", "--bundle", b, "cloche-failing")
			if all, err := list(&Global{Root: r.root}); err != nil || len(all) > 0 {
				t.Errorf("%v is left: %v", all, err)
			}
			if rest := left(t, "cloche-failing", b); len(rest) > 0 {
				t.Errorf("%q is left", rest)
			}
		})
	}
	// A poststop hook that fails stops nothing.
	b := bundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"true"}
		s.Hooks = &specs.Hooks{Poststop: bad}
	})
	r.ok("run", "--bundle", b, "cloche-failing")
}
