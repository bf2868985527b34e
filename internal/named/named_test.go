package named

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// TestMain runs the tests as who runs it and, if that is root, again as an ordinary user.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && os.Geteuid() == 0 {
		code = needs.OrdinaryUser()
	}
	os.Exit(code)
}

func fresh(t *testing.T) {
	t.Helper()
	t.Setenv(DirVariable, filepath.Join(t.TempDir(), "st"))
}

// sleeper is a process that lives as long as the test, and one that has ended.
func sleeper(t *testing.T) (state.Process, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command("sleep", "86424")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p, err := state.ProcessOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p, cmd
}

func ended(t *testing.T) state.Process {
	t.Helper()
	p, cmd := sleeper(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return p
}

func create(t *testing.T, name string, owner state.Process) {
	t.Helper()
	if err := Create(&Sandbox{Name: name, Created: time.Now(), Args: []string{"true"}, Owner: owner}, policy.New()); err != nil {
		t.Fatal(err)
	}
}

// TestPolicyComesBack: each built-in policy, and one with all kinds of rules, is read as it was written.
func TestPolicyComesBack(t *testing.T) {
	all := []*policy.Policy{}
	for _, name := range policy.Builtins() {
		p, _ := policy.Builtin(name)
		all = append(all, p)
	}
	p := policy.New()
	p.Limits.Swap = new(policy.Size)
	p.Limits.IO = []policy.IOLimit{{Device: "/dev/vda", WriteBPS: 5}}
	p.SeccompGroups = []seccomp.Group{{Name: "g", Rules: []seccomp.Rule{{Syscalls: []string{"socket"}, Args: []seccomp.Arg{{Index: 1, Value: 2}}}}}}
	docker, _, ok := profile.Named("docker", profile.Host{})
	if !ok {
		t.Fatal("no profile docker")
	}
	p.Seccomp, p.SeccompProfile = "", &docker
	for _, p := range append(all, p) {
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		got := &policy.Policy{}
		if err := json.Unmarshal(data, got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, got) {
			t.Errorf("%s: written\n%+v\nread\n%+v", p.Name, p, got)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"web": "", "a-1.b_c": "", "7a": "", "": "not a name", "12": "digits alone", "Web": "not a name", "-a": "not a name",
		"a/b": "not a name", "..": "not a name", "a\n": "not a name", strings.Repeat("a", 65): "not a name",
	} {
		err := CheckName(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

// TestLife: a name in use, an ended one, one that was left behind, unknown and ambiguous ones.
func TestLife(t *testing.T) {
	fresh(t)
	if all, notes, err := List(); len(all)+len(notes) > 0 || err != nil {
		t.Errorf("nothing yet: %v, %v, %v", all, notes, err)
	}
	if _, err := Find("web"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	owner, cmd := sleeper(t)
	create(t, "web", owner)
	if err := Create(&Sandbox{Name: "web", Owner: owner}, policy.New()); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("a name in use: %v", err)
	}
	s, err := Find("web")
	if err != nil || !s.Running() || s.Args[0] != "true" {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := Remove("web"); err == nil || !strings.Contains(err.Error(), "web runs") {
		t.Errorf("remove one that runs: %v", err)
	}
	create(t, "west", owner)
	create(t, "api", owner)
	for word, want := range map[string]string{"wbe": `did you mean "web"`, "we": "several that begin so: web, west", "ap": `did you mean "api"`, "zzz": "`cloche ps` lists them"} {
		if _, err := Find(word); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", word, err, want)
		}
	}
	// Another run's record is not changed.
	if err := Update("web", ended(t), func(s *Sandbox) { s.Log = "wrong" }); err != nil {
		t.Error(err)
	}
	if err := Update("web", owner, func(s *Sandbox) { s.Log = "right" }); err != nil {
		t.Error(err)
	}
	if s, _ = Find("web"); s.Log != "right" {
		t.Errorf("log %q", s.Log)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	all, notes, err := List()
	if err != nil || len(all) != 3 || len(notes) != 3 || !strings.Contains(notes[0], "api: it has ended without a word") || all[0].Ended == nil || all[0].Ended.Reason != Lost {
		t.Errorf("%v, %q, %v", all, notes, err)
	}
	if _, notes, _ = List(); len(notes) > 0 {
		t.Errorf("it is said once: %q", notes)
	}
	if _, err := all[0].Command(); err == nil || !strings.Contains(err.Error(), "does not run: it has ended (lost)") {
		t.Errorf("%v", err)
	}
	// An ended name is given anew.
	owner, _ = sleeper(t)
	create(t, "web", owner)
	if s, _ = Find("web"); !s.Running() {
		t.Errorf("%+v", s)
	}
	if err := Remove("api"); err != nil {
		t.Error(err)
	}
}

// TestReusedPid: a pid and a start time tell a sandbox from a stranger, and a boot from the next one.
func TestReusedPid(t *testing.T) {
	fresh(t)
	owner, _ := sleeper(t)
	reused := owner
	reused.Start++
	create(t, "reused", reused)
	before := owner
	before.Boot = "00000000-0000-0000-0000-000000000000"
	create(t, "before", before)
	for _, name := range []string{"reused", "before"} {
		if s, err := Find(name); err != nil || s.Running() {
			t.Errorf("%s runs: %v", name, err)
		}
	}
}

// TestDamage: what others did to the directory is refused, and what a crash left is cleaned.
func TestDamage(t *testing.T) {
	fresh(t)
	create(t, "good", ended(t))
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(dir+"/half", 0o700), os.Mkdir(dir+"/broken", 0o700), os.WriteFile(dir+"/broken/sandbox.json", []byte(`{"name":`), 0o600),
		os.Symlink("/etc", dir+"/link"), os.Mkdir(dir+"/open", 0o777), os.Chmod(dir+"/open", 0o777),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all, notes, err := List()
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	text := strings.Join(notes, "\n")
	for _, want := range []string{"half: its start was cut off", "broken: ", "is damaged", "link: ", "no directory of the store's own", "open: ", "written to by others", "good: it has ended"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %q:\n%s", want, text)
		}
	}
	if err := Remove("broken"); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := List(); err == nil || !strings.Contains(err.Error(), "written to by others") {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestRaceForAName: of many that want one name at once, one gets it.
func TestRaceForAName(t *testing.T) {
	fresh(t)
	owner, _ := sleeper(t)
	for range 20 {
		var won atomic.Int32
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if Create(&Sandbox{Name: "one", Owner: owner}, policy.New()) == nil {
					won.Add(1)
				}
			})
		}
		wait.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d have the name", won.Load())
		}
		if err := Update("one", owner, func(s *Sandbox) { s.Ended = &Ended{Reason: "exited"} }); err != nil {
			t.Fatal(err)
		}
	}
}
