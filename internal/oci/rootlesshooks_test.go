package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// asOrdinaryUser has a test run once more as an ordinary user, where root runs it.
func asOrdinaryUser(t *testing.T) (does bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	dir := t.TempDir()
	exe, home := filepath.Join(dir, "oci.test"), filepath.Join(dir, "home")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chown(home, needs.UID, needs.UID), os.Chmod(filepath.Dir(dir), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v="+fmt.Sprint(testing.Verbose()))
	cmd.Dir = home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: needs.UID, Gid: needs.UID}}
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=/usr/local/bin:/usr/bin:/bin", "CLOCHE_REQUIRE=" + os.Getenv("CLOCHE_REQUIRE")}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("as uid %d: %v", needs.UID, err)
	}
	return false
}

// TestRootlessHooks: those of an ordinary user's container, each at its time and in its namespaces.
func TestRootlessHooks(t *testing.T) {
	needs.Programs(t, "busybox")
	if !asOrdinaryUser(t) {
		return
	}
	probe := exec.Command("true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := probe.Run(); err != nil {
		needs.Elsewhere(t, fmt.Sprintf("ordinary users can make no user namespace here: %v", err))
	}
	r := &runtimeOf{t: t, root: filepath.Join(t.TempDir(), "root"), log: filepath.Join(t.TempDir(), "log.json")}
	said := filepath.Join(t.TempDir(), "said")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	const namespaces = `$(for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done | tr '\n' ,)`
	hook := func(shell, script string) []specs.Hook {
		return []specs.Hook{{Path: shell, Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}}
	}
	say := func(name, shell string) []specs.Hook {
		return hook(shell, `read s; echo "`+name+` `+namespaces+` $(id -u) $s" >> `+said)
	}
	rootless := func(change func(*specs.Spec)) string {
		return bundle(t, func(s *specs.Spec) {
			toRootless(s)
			s.Root.Readonly = false
			change(s)
		})
	}
	b := rootless(func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: filepath.Dir(said), Source: filepath.Dir(said), Options: []string{"rbind"}})
		s.Hooks = &specs.Hooks{
			//lint:ignore SA1019 engines still use it
			Prestart:        say("prestart", busybox),
			CreateRuntime:   say("createRuntime", busybox),
			CreateContainer: say("createContainer", busybox),
			StartContainer:  say("startContainer", "/bin/sh"),
			Poststart:       say("poststart", busybox),
			Poststop:        say("poststop", busybox),
		}
	})
	r.ok("create", "--bundle", b, "cloche-hooks")
	r.ok("start", "cloche-hooks")
	inside := strings.TrimSpace(r.ok("exec", "cloche-hooks", "sh", "-c", "echo "+namespaces+" $(id -u)"))
	r.ok("delete", "--force", "cloche-hooks")
	out, err := exec.Command(busybox, "sh", "-c", "echo "+namespaces+" $(id -u)").Output()
	if err != nil {
		t.Fatal(err)
	}
	outside := strings.TrimSpace(string(out))
	text, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	names := []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
	if len(lines) != len(names) {
		t.Fatalf("%d hooks have run, want %d: %s", len(lines), len(names), text)
	}
	for i, line := range lines {
		where := outside
		if strings.HasSuffix(names[i], "Container") {
			where = inside
		}
		state, ok := strings.CutPrefix(line, names[i]+" "+where+" ")
		var s specs.State
		if err := json.Unmarshal([]byte(state), &s); !ok || err != nil || s.ID != "cloche-hooks" {
			t.Errorf("hook %d, which is to be %s in %s: %s", i, names[i], where, line)
		}
	}
	one := 1
	slow := hook("/bin/sh", "exec sleep 100")
	slow[0].Timeout = &one
	for want, hooks := range map[string]*specs.Hooks{
		"error running createContainer hook #0 (/bin/sh): exit status 3, output: this is why": {CreateContainer: hook("/bin/sh", "echo this is why >&2; exit 3")},
		"error running startContainer hook #0 (/bin/sh): exit status 4":                       {StartContainer: hook("/bin/sh", "exit 4")},
		"timeout of 1s": {StartContainer: slow},
		"/nowhere":      {CreateContainer: hook("/nowhere", "")},
	} {
		r.refused(1, want, "run", "--detach", "--bundle", rootless(func(s *specs.Spec) { s.Hooks = hooks }), "cloche-hooks")
		if _, err := os.Stat(filepath.Join(r.root, "cloche-hooks")); err == nil {
			t.Errorf("%s: the container is left", want)
		}
	}
}
