package oci

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestParse has command lines as engines write them, and what is read from them.
func TestParse(t *testing.T) {
	all := map[string]func(*invocation) any{
		"global": func(i *invocation) any { return i.g },
		"create": func(i *invocation) any { return i.run.CreateOptions },
		"run":    func(i *invocation) any { return i.run },
		"exec":   func(i *invocation) any { return i.exec },
	}
	for _, tt := range []struct {
		line, look string
		want       any
		args       string
	}{
		{
			"--root /var/run/docker/runtime-runc/moby --log /run/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty.sock ID", "global",
			Global{Root: "/var/run/docker/runtime-runc/moby", Log: "/run/log.json", LogFormat: "json", SystemdCgroup: true},
			"ID",
		},
		{
			"create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty.sock ID", "create",
			CreateOptions{Bundle: "/b", PidFile: "/b/init.pid", ConsoleSocket: "/tmp/pty.sock"},
			"ID",
		},
		{
			"create ID -b=/b --no-pivot --no-new-keyring=true --preserve-fds=3 --pidfd-socket /s", "create",
			CreateOptions{Bundle: "/b", NoPivot: true, NoNewKeyring: true, PreserveFDs: 3, PidfdSocket: "/s"},
			"ID",
		},
		{
			"-debug=false -root=/r run -d --keep --no-subreaper -b /b ID", "run",
			RunOptions{CreateOptions: CreateOptions{Bundle: "/b"}, Detach: true, Keep: true, NoSubreaper: true},
			"ID",
		},
		{
			"exec --process /tmp/p.json --console-socket /s --detach --pid-file /f ID", "exec",
			ExecOptions{Process: "/tmp/p.json", ConsoleSocket: "/s", Detach: true, PidFile: "/f"},
			"ID",
		},
		{
			"exec -t -u 1:2 -g 3 -g 4 -e A=b -e C=d=e --cwd /w -c CAP_KILL --no-new-privs --apparmor p --process-label l --cgroup cpu:a --cgroup pids:b --ignore-paused --preserve-fds 1 ID sh -c -d", "exec",
			ExecOptions{
				TTY: true, User: "1:2", AdditionalGIDs: []uint32{3, 4}, Env: []string{"A=b", "C=d=e"}, Cwd: "/w", Cap: []string{"CAP_KILL"}, NoNewPrivs: true,
				AppArmor: "p", ProcessLabel: "l", Cgroup: []string{"cpu:a", "pids:b"}, IgnorePaused: true, PreserveFDs: 1,
			},
			"ID sh -c -d",
		},
		{"exec -d ID -- ls -l", "exec", ExecOptions{Detach: true}, "ID -- ls -l"},
		{"exec -- ID ls -l", "exec", ExecOptions{}, "ID ls -l"},
		{"--root / state --help", "global", Global{Root: "/"}, ""},
	} {
		inv, err := parse(strings.Fields(tt.line))
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		if diff := cmp.Diff(tt.want, all[tt.look](inv)); diff != "" {
			t.Errorf("%s: %s", tt.line, diff)
		}
		if got := strings.Join(inv.args, " "); got != tt.args {
			t.Errorf("%s: arguments %q, want %q", tt.line, got, tt.args)
		}
	}
}

// TestParseOthers has the verbs whose options are one or two.
func TestParseOthers(t *testing.T) {
	for _, tt := range []struct {
		line string
		ok   func(*invocation) bool
	}{
		{"kill --all ID 9", func(i *invocation) bool { return i.all && i.args[1] == "9" }},
		{"kill ID TERM -a", func(i *invocation) bool { return i.all && i.args[1] == "TERM" }},
		{"delete ID", func(i *invocation) bool { return !i.force }},
		{"delete --force ID", func(i *invocation) bool { return i.force }},
		{"delete -f ID", func(i *invocation) bool { return i.force }},
		{"events --stats ID", func(i *invocation) bool { return i.stats && i.interval == 5*time.Second }},
		{"events --interval 250ms ID", func(i *invocation) bool { return !i.stats && i.interval == 250*time.Millisecond }},
		{"list", func(i *invocation) bool { return i.format == "table" && !i.quiet }},
		{"list -f json", func(i *invocation) bool { return i.format == "json" }},
		{"list -q", func(i *invocation) bool { return i.quiet }},
		{"ps --format json ID", func(i *invocation) bool { return i.format == "json" }},
		{"ps ID -o pid,comm -f", func(i *invocation) bool { return i.format == "table" && len(i.args) == 4 }},
		{"pause ID", func(i *invocation) bool { return i.verb.name == "pause" }},
		{"resume ID", func(i *invocation) bool { return i.verb.name == "resume" }},
		{"start ID", func(i *invocation) bool { return i.verb.name == "start" }},
		{"state ID", func(i *invocation) bool { return i.verb.name == "state" }},
		{"features", func(i *invocation) bool { return i.verb.name == "features" }},
		{"spec --rootless -b /b", func(i *invocation) bool { return i.specRootless && i.run.Bundle == "/b" }},
		{"checkpoint --image-path /i --leave-running ID", func(i *invocation) bool { return i.verb.name == "checkpoint" }},
		{"restore --detach -b /b --image-path /i ID", func(i *invocation) bool { return i.verb.name == "restore" }},
		{"--version", func(i *invocation) bool { return i.version }},
		{"-v", func(i *invocation) bool { return i.version }},
		{"--help", func(i *invocation) bool { return i.help }},
		{"help exec", func(i *invocation) bool { return i.help && i.verb.name == "exec" }},
		{"--rootless auto list", func(i *invocation) bool { return i.rootless == "auto" }},
		{"--criu /usr/sbin/criu list", func(i *invocation) bool { return i.verb.name == "list" }},
	} {
		inv, err := parse(strings.Fields(tt.line))
		if err != nil || !tt.ok(inv) {
			t.Errorf("%s: %v", tt.line, err)
		}
	}
}

// TestParseErrors has for every verb an argument too few, one too many, and a
// flag that it does not have.
func TestParseErrors(t *testing.T) {
	for i := range verbs {
		v := &verbs[i]
		t.Run(v.name, func(t *testing.T) {
			check := func(want string, words ...string) {
				t.Helper()
				_, err := parse(append([]string{v.name}, words...))
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q: %v, want …%s…", words, err, want)
				}
			}
			check("flag provided but not defined: -bogus", "--bogus", "ID")
			if v.min > 0 {
				check(fmt.Sprintf("%s: %q requires", programName, v.name))
				check("container id cannot be empty", "")
			}
			if v.max >= 0 {
				check(fmt.Sprintf("%s: %q requires", programName, v.name), strings.Fields(strings.Repeat("x ", v.max+1))...)
			}
			for _, o := range v.options {
				if o.value != "" {
					check("flag needs an argument: -"+o.name, "--"+o.name)
				} else if !o.hidden {
					check("for flag -"+o.name+": parse error", "--"+o.name+"=perhaps")
				}
				if o.usage == "" && !o.hidden {
					t.Errorf("--%s has no description", o.name)
				}
			}
		})
	}
	for line, want := range map[string]string{
		"":                           "no command",
		"--bogus list":               "flag provided but not defined: -bogus",
		"--root":                     "flag needs an argument: -root",
		"frobnicate ID":              "No help topic for 'frobnicate'",
		"help frobnicate":            "No help topic for 'frobnicate'",
		"create --preserve-fds x ID": `invalid value "x" for flag -preserve-fds: parse error`,
		"create --preserve-fds -1 I": `invalid value "-1" for flag -preserve-fds: parse error`,
		"exec -g -5 ID ls":           `invalid value "-5" for flag -g: additional-gids must be a positive number -5`,
		"events --interval 5 ID":     `invalid value "5" for flag -interval: parse error`,
		"kill a b c":                 `cloche-oci: "kill" requires a maximum of 2 argument(s)`,
		"update --memory 5q ID":      `invalid value "5q" for flag -memory: invalid size: '5q'`,
	} {
		_, err := parse(strings.Fields(line))
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", line, err, want)
		}
	}
}

func TestUpdateFlags(t *testing.T) {
	inv, err := parse([]string{
		"update", "--blkio-weight", "500", "--cpu-period", "200000", "--cpu-quota", "-1", "--cpu-burst", "0", "--cpu-share", "512", "--cpu-rt-period", "1000000", "--cpu-rt-runtime", "950000",
		"--cpuset-cpus", "0-1", "--cpuset-mems", "0", "--memory", "64m", "--memory-reservation", "1.5GiB", "--memory-swap", "-1", "--cpu-idle", "1", "--pids-limit", "-1", "ID",
	})
	if err != nil {
		t.Fatal(err)
	}
	var want specs.LinuxResources
	if err := json.Unmarshal([]byte(`{"blockIO":{"weight":500},"cpu":{"period":200000,"quota":-1,"burst":0,"shares":512,"realtimePeriod":1000000,"realtimeRuntime":950000,
		"cpus":"0-1","mems":"0","idle":1},"memory":{"limit":67108864,"reservation":1610612736,"swap":-1},"pids":{"limit":-1}}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, inv.update.resources); diff != "" {
		t.Error(diff)
	}
	// Scripts pass empty values for what they leave.
	inv, err = parse([]string{"update", "--cpu-quota", "", "--memory=", "--cpuset-cpus", "", "ID"})
	if err != nil {
		t.Fatal(err)
	}
	if c := inv.update.resources.CPU; c != nil && !reflect.DeepEqual(*c, specs.LinuxCPU{}) || inv.update.resources.Memory != nil {
		t.Errorf("empty values set %+v", inv.update.resources)
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"-1": -1, "0": 0, "1024": 1024, "1k": 1024, "1K": 1024, "1kb": 1024, "1KiB": 1024, "2m": 2 << 20, "1.5g": 3 << 29, "1 t": 1 << 40, "5b": 5, "1p": 1 << 50,
	} {
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "1q", "-2", "1e3", "0x10", "9999999999p", "1i", "1kk", "NaN", "Inf", "1_0", "k"} {
		if n, err := parseBytes(s); err == nil {
			t.Errorf("%q was taken as %d", s, n)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{"9": unix.SIGKILL, "KILL": unix.SIGKILL, "SIGKILL": unix.SIGKILL, "term": unix.SIGTERM, "0": 0, "64": 64} {
		if got, err := parseSignal(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"BOGUS", "-1", "65", "SIG", "99999999999999999999"} {
		if _, err := parseSignal(s); err == nil || err.Error() != fmt.Sprintf("unknown signal %q", s) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestLog(t *testing.T) {
	at := time.Date(2026, 11, 28, 3, 48, 28, 5, time.FixedZone("", 3600))
	for _, tt := range []struct{ format, message, want string }{
		{"text", "container does not exist", "time=\"2026-11-28T02:48:28Z\" level=error msg=\"container does not exist\"\n"},
		{"text", "a \"b\"\n", "time=\"2026-11-28T02:48:28Z\" level=error msg=\"a \\\"b\\\"\\n\"\n"},
		{"json", "container \"x\" <does> not exist\n", `{"level":"error","msg":"container \"x\" \u003cdoes\u003e not exist\n","time":"2026-11-28T02:48:28Z"}` + "\n"},
	} {
		l := logger{format: tt.format}
		if got := string(l.line("error", tt.message, at)); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	if _, err := openLog(&Global{LogFormat: "xml"}); err == nil || err.Error() != "invalid log-format: xml" {
		t.Error(err)
	}
}

func TestPages(t *testing.T) {
	for _, words := range [][]string{{"--help"}, {"help", "exec"}, {"update", "--help"}} {
		inv, err := parse(words)
		if err != nil {
			t.Fatal(err)
		}
		page := inv.page()
		if strings.Contains(page, "criu") || strings.Contains(page, "kernel-memory") || !strings.Contains(page, "USAGE:") {
			t.Errorf("%q: %s", words, page)
		}
	}
}

func TestStatePrinted(t *testing.T) {
	s := &State{
		State:  specs.State{Version: "1.0.2", ID: "x", Status: specs.StateRunning, Pid: 12, Bundle: "/b", Annotations: map[string]string{"a": "b"}},
		Rootfs: "/b/rootfs", Created: time.Date(2026, 11, 28, 3, 48, 28, 5, time.UTC), Owner: "root",
	}
	var b strings.Builder
	if err := s.print(&b); err != nil {
		t.Fatal(err)
	}
	want := `{
  "ociVersion": "1.0.2",
  "id": "x",
  "pid": 12,
  "status": "running",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2026-11-28T03:48:28.000000005Z",
  "annotations": {
    "a": "b"
  },
  "owner": "root"
}`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := table(&b, []containerState{{ID: "x", Pid: 12, Status: "running", Bundle: "/b", Created: s.Created, Owner: "root"}}); err != nil {
		t.Fatal(err)
	}
	want = "ID          PID         STATUS      BUNDLE      CREATED                          OWNER\nx           12          running     /b          2026-11-28T03:48:28.000000005Z   root\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestLinesAbout(t *testing.T) {
	var b strings.Builder
	text := "UID          PID    PPID CMD\nroot           1       0 init\nroot          12       1 sh -c x\nroot         120       1 sleep 12\n"
	if err := linesAbout(&b, text, []int{12}); err != nil {
		t.Fatal(err)
	}
	if want := "UID          PID    PPID CMD\nroot          12       1 sh -c x\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
	for _, bad := range []string{"", "CMD\nx\n", "UID PID\nroot x\n", "UID PID\nroot\n"} {
		if err := linesAbout(&b, bad, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestExample(t *testing.T) {
	s := example(true)
	kinds := map[specs.LinuxNamespaceType]bool{}
	for _, ns := range s.Linux.Namespaces {
		kinds[ns.Type] = true
	}
	if len(kinds) != 7 || !kinds[specs.NetworkNamespace] || !kinds[specs.UserNamespace] {
		t.Errorf("a rootless container has the namespaces %v", kinds)
	}
	for _, m := range s.Mounts {
		for _, o := range m.Options {
			if strings.HasPrefix(o, "gid=") {
				t.Errorf("%s has %s, and one id is mapped", m.Destination, o)
			}
		}
	}
	if s.Linux.Resources != nil || len(s.Linux.UIDMappings) != 1 {
		t.Errorf("%+v", s.Linux)
	}
	if f := supported(); len(f.Hooks) != 6 || len(f.Linux.Capabilities) < 41 || f.OCIVersionMax != specs.Version {
		t.Errorf("%+v", f)
	}
}

// FuzzParse: no command line makes the parser do anything but answer.
func FuzzParse(f *testing.F) {
	f.Add("--root /r --log-format json exec -e A=b -- ID sh")
	f.Add("update --memory 1.5g --cpu-quota= ID")
	f.Add("kill -a=true ID SIGKILL")
	f.Add("-\x00-=\x00 \x00")
	f.Fuzz(func(t *testing.T, line string) {
		inv, err := parse(strings.Split(line, " "))
		if inv == nil {
			t.Fatal("no invocation")
		}
		_ = inv.page()
		if err != nil || inv.help || inv.version {
			return
		}
		v := inv.verb
		if n := len(inv.args); n < v.min || v.max >= 0 && n > v.max {
			t.Errorf("%s has %d arguments", v.name, n)
		}
		if v.min > 0 && inv.args[0] == "" {
			t.Error("the id is empty")
		}
		if inv.run.PreserveFDs < 0 {
			t.Error("descriptors fewer than none")
		}
	})
}
