package profile

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// decide asks a profile about a call by its name.
func decide(t *testing.T, p seccomp.Profile, a seccomp.Arch, name string, args ...uint64) seccomp.Action {
	t.Helper()
	nr, ok := a.Number(name)
	if !ok {
		t.Fatalf("%s has no %s", a, name)
	}
	d := seccomp.Data{NR: nr, Arch: a.Audit}
	copy(d.Args[:], args)
	return seccomp.Decide(p, a, d).Action
}

func TestDocker(t *testing.T) {
	const user = unix.CLONE_NEWUSER
	eperm, enosys := seccomp.Errno(unix.EPERM), seccomp.Errno(unix.ENOSYS)
	for _, c := range []struct {
		host Host
		call string
		args []uint64
		want seccomp.Action
	}{
		{Host{}, "openat", nil, seccomp.Allow},
		{Host{}, "keyctl", nil, eperm},
		{Host{}, "io_uring_setup", nil, eperm},
		{Host{}, "clone", []uint64{user}, eperm},
		{Host{}, "clone", nil, seccomp.Allow},
		{Host{}, "clone3", nil, enosys},
		{Host{Caps: []string{"CAP_SYS_ADMIN"}}, "clone", []uint64{user}, seccomp.Allow},
		{Host{Caps: []string{"CAP_SYS_ADMIN"}}, "clone3", nil, seccomp.Allow},
		{Host{}, "mount", nil, eperm},
		{Host{Caps: []string{"CAP_SYS_ADMIN"}}, "mount", nil, seccomp.Allow},
		{Host{Kernel: [2]int{4, 7}}, "ptrace", nil, eperm},
		{Host{Kernel: [2]int{4, 8}}, "ptrace", nil, seccomp.Allow},
		{Host{Kernel: [2]int{4, 7}, Caps: []string{"CAP_SYS_PTRACE"}}, "ptrace", nil, seccomp.Allow},
		{Host{}, "socket", []uint64{unix.AF_INET}, seccomp.Allow},
		{Host{}, "socket", []uint64{unix.AF_ALG}, eperm},
		{Host{}, "socket", []uint64{unix.AF_VSOCK}, eperm},
		{Host{}, "socket", []uint64{1<<32 | unix.AF_VSOCK}, eperm},
		{Host{}, "socket", []uint64{1<<32 | unix.AF_INET}, seccomp.Allow}, // as the kernel sees it
		{Host{Exact: true}, "socket", []uint64{1<<32 | unix.AF_INET}, eperm},
		{Host{}, "personality", []uint64{0xffffffff}, seccomp.Allow},
		{Host{}, "personality", []uint64{0x40000}, eperm},
	} {
		for _, a := range []seccomp.Arch{seccomp.AMD64, seccomp.ARM64} {
			c.host.Arch = a
			p, _, err := Docker(c.host)
			if err != nil {
				t.Fatal(err)
			}
			if got := decide(t, p, a, c.call, c.args...); got != c.want {
				t.Errorf("%s, kernel %v, %v: %s%#x: %s, want %s", a, c.host.Kernel, c.host.Caps, c.call, c.args, got, c.want)
			}
		}
	}
	_, archs, _ := Docker(amd64)
	if want := []seccomp.Arch{seccomp.AMD64, seccomp.X86, seccomp.X32}; !reflect.DeepEqual(archs, want) {
		t.Errorf("architectures %v, want %v", archs, want)
	}
	if p, _, _ := Docker(amd64); decide(t, p, seccomp.AMD64, "modify_ldt") != seccomp.Allow {
		t.Error("modify_ldt is x86's and not allowed there")
	}
	// All of its names are known here: none was lost on the way.
	if _, _, warnings, _ := ReadOCI("docker", dockerFile, amd64); len(warnings) > 0 {
		t.Error(warnings)
	}
}

// rules makes a profile of entries, on a line each.
func rules(byDefault string, entries ...string) string {
	return `{"defaultAction": "` + byDefault + `", "syscalls": [` + "\n" + strings.Join(entries, ",\n") + "]}"
}

// TestLikeRunc is about what libseccomp and runc make of rules that no reader of the
// file would expect.
func TestLikeRunc(t *testing.T) {
	const (
		allowSocket = `{"names": ["socket"], "action": "SCMP_ACT_ALLOW"}`
		trapSocket  = `{"names": ["socket"], "action": "SCMP_ACT_TRAP"}`
		trapVsock   = `{"names": ["socket"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]}`
		errnoVsock  = `{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]}`
		twice       = `{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_GT"}, {"index": 0, "value": 9, "op": "SCMP_CMP_LT"}]}`
		both        = `{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_GT"}, {"index": 2, "value": 9, "op": "SCMP_CMP_LT"}]}`
	)
	eperm := seccomp.Errno(unix.EPERM)
	for _, c := range []struct {
		name, text string
		call       string
		args       []uint64
		want       seccomp.Action
		warning    string
	}{
		{"one without conditions beats one with, after it", rules("SCMP_ACT_ERRNO", trapVsock, allowSocket), "socket", []uint64{40}, seccomp.Allow, "f:2: socket: the rule without conditions in syscalls[1]"},
		{"and before it", rules("SCMP_ACT_ERRNO", allowSocket, trapVsock), "socket", []uint64{40}, seccomp.Allow, "f:3: socket: the rule without conditions in syscalls[0]"},
		{"the first of two without conditions stays", rules("SCMP_ACT_ERRNO", allowSocket, trapSocket), "socket", nil, seccomp.Allow, "f:3: socket: the rule without"},
		{"the default action is left out", rules("SCMP_ACT_ERRNO", errnoVsock, allowSocket), "socket", []uint64{40}, seccomp.Allow, ""},
		{"two conditions on one argument are two rules", rules("SCMP_ACT_ERRNO", twice), "read", []uint64{3}, seccomp.Allow, ""},
		{"on two arguments they are one", rules("SCMP_ACT_ERRNO", both), "read", []uint64{3}, eperm, ""},
		{"on two arguments they are one", rules("SCMP_ACT_ERRNO", both), "read", []uint64{6}, seccomp.Allow, ""},
		{"an unknown name is skipped", rules("SCMP_ACT_ERRNO", `{"names": ["reed", "read"], "action": "SCMP_ACT_ALLOW"}`), "read", nil, seccomp.Allow, `f:2: "reed": unknown call, left out: did you mean read?`},
		{"kill is the thread's", rules("SCMP_ACT_KILL", allowSocket), "read", nil, seccomp.KillThread, ""},
		{"the errno's name is stronger", rules("SCMP_ACT_ERRNO", `{"name": "read", "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EIO"}`), "read", nil, seccomp.Errno(unix.EIO), "f:2: errno"},
		{"trace without a number", rules("SCMP_ACT_TRACE", allowSocket), "read", nil, seccomp.Trace(1), ""},
		{"a key in another case", strings.Replace(rules("SCMP_ACT_ERRNO", allowSocket), "names", "NAMES", 1), "socket", nil, seccomp.Allow, ""},
		{"an unknown key", rules("SCMP_ACT_ALLOW", `{"names": ["read"], "action": "SCMP_ACT_TRAP", "include": {}}`), "read", nil, seccomp.Trap, "f:2: syscalls[0].include: unknown key: did you mean includes?"},
		{"a negative int", rules("SCMP_ACT_ERRNO", `{"names": ["close"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 18446744073709551615, "op": "SCMP_CMP_EQ"}]}`), "close", []uint64{0xffffffff}, seccomp.Allow, ""},
		{"never", rules("SCMP_ACT_ERRNO", `{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}]}`), "clone", []uint64{4}, eperm, "f:2: clone: argument 0: the rule can never hold"},
	} {
		p, _, warnings, err := ReadOCI("f", []byte(c.text), amd64)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if got := decide(t, p, seccomp.AMD64, c.call, c.args...); got != c.want {
			t.Errorf("%s: %s, want %s\n%s", c.name, got, c.want, c.text)
		}
		var said []string
		for _, w := range warnings {
			said = append(said, w.String())
		}
		if all := strings.Join(said, "\n"); len(said) > 1 || !strings.HasPrefix(all, c.warning) || c.warning == "" && all != "" {
			t.Errorf("%s: warnings %q, want %q", c.name, all, c.warning)
		}
	}
}

func TestUnknownLikeRunc(t *testing.T) {
	for action, want := range map[string]seccomp.Action{
		"SCMP_ACT_ERRNO": seccomp.Errno(unix.ENOSYS), "SCMP_ACT_KILL_PROCESS": seccomp.Errno(unix.ENOSYS),
		"SCMP_ACT_ALLOW": seccomp.Allow, "SCMP_ACT_LOG": seccomp.Log, "SCMP_ACT_TRACE": seccomp.Trace(1),
	} {
		p, _, _, err := ReadOCI("f", []byte(rules(action)), amd64)
		if err != nil || p.Unknown != want {
			t.Errorf("%s: newer calls get %s, %v; want %s", action, p.Unknown, err, want)
		}
	}
}

func TestContainerConfig(t *testing.T) {
	text := `{"ociVersion": "1.2.0", "linux": {"seccomp": ` + rules("SCMP_ACT_KILL_PROCESS") + `}}`
	if p, _, _, err := ReadOCI("config.json", []byte(text), amd64); err != nil || p.Default != seccomp.KillProcess {
		t.Error(p, err)
	}
}

// TestWriteOCI compiles what comes back from the JSON form and has it answer every
// corner of every argument as the first profile does.
func TestWriteOCI(t *testing.T) {
	profiles := map[string]seccomp.Profile{}
	for _, name := range []string{"default", "build", "strict"} {
		profiles[name], _ = seccomp.Builtin(name)
	}
	profiles["docker"], _, _ = Docker(amd64)
	ordered := `default = "EPERM"
[[group]]
name = "@ordered"
[[group.rule]]
action = "trap"
calls = ["socket(3, _, != 7)", "ioctl(_, > 5 && < 9)", "clone(& 0x11 == 0x10)"]
[[group.rule]]
action = "EPERM"
calls = ["socket(4)", "read(<= 100)"]
[[group.rule]]
action = "allow"
calls = ["socket(<= 12)", "ioctl", "clone(!& 0x100)", "read"]
[[group.rule]]
action = "EACCES"
calls = ["socket"]
`
	var err error
	if profiles["ordered"], _, err = ReadTOML("ordered", []byte(ordered), amd64); err != nil {
		t.Fatal(err)
	}
	for name, p := range profiles {
		text, warnings, err := WriteOCI(p, seccomp.AMD64)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", name, err, warnings)
			continue
		}
		back, _, warnings, err := ReadOCI(name, text, Host{Arch: seccomp.AMD64, Exact: true})
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v\n%s", name, err, warnings, text)
			continue
		}
		sameAnswers(t, name, p, back)
	}
}

// sameAnswers compiles two profiles and asks them about corners of every argument.
func sameAnswers(t *testing.T, name string, p, q seccomp.Profile) {
	t.Helper()
	a := seccomp.AMD64
	first, err := seccomp.Compile(p, a)
	if err != nil {
		t.Fatal(name, err)
	}
	second, err := seccomp.Compile(q, a)
	if err != nil {
		t.Fatal(name, err)
	}
	corners := []uint64{
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 16, 17, 99, 100, 101, 0x100, 0x111, 0x5411, 0x5412, 0x5413,
		1 << 28, 1 << 32, 1<<32 | 0x5412, 1 << 63, ^uint64(0),
	}
	for nr, call := range a.Calls() {
		for _, x := range corners {
			for i := range 6 {
				for _, y := range []uint64{0, 3, 7, 16} {
					d := seccomp.Data{NR: nr, Arch: a.Audit, Args: [6]uint64{y, y, y, y, y, y}}
					d.Args[i] = x
					want, _, err1 := seccomp.Simulate(first, d)
					got, _, err2 := seccomp.Simulate(second, d)
					if want != got || err1 != nil || err2 != nil {
						t.Fatalf("%s: %s%#x: %s comes back as %s (%v, %v)", name, call, d.Args, want, got, err1, err2)
					}
				}
			}
		}
	}
}

func TestWriteOCIWarns(t *testing.T) {
	p := seccomp.Profile{Default: seccomp.Allow, Unknown: seccomp.Trap, BadArch: seccomp.Allow}
	_, warnings, err := WriteOCI(p)
	if err != nil || len(warnings) != 2 {
		t.Error(warnings, err)
	}
	p.Groups = []seccomp.Group{{Name: "@a", Rules: []seccomp.Rule{{Syscalls: []string{"435"}, Action: seccomp.Trap}}}}
	if _, _, err := WriteOCI(p); err == nil {
		t.Error("a call by its number can be written")
	}
}

// TestCutJSON cuts a profile at every byte: an error with a line, never half a profile.
func TestCutJSON(t *testing.T) {
	text := strings.TrimSpace(rules("SCMP_ACT_ERRNO", `{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]}`))
	for i := range len(text) {
		_, _, _, err := Read("f", []byte(text[:i]), amd64)
		if err == nil {
			t.Fatalf("%q is read", text[:i])
		}
		oneLine(t, err)
	}
}

// TestManyRules is about hostile files: 50,000 rules are read in a moment, and refused
// in another.
func TestManyRules(t *testing.T) {
	var toml, oci strings.Builder
	toml.WriteString("default = 'EPERM'\n[[group]]\nname = 'a'\n")
	oci.WriteString(`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [` + "\n")
	const n = 50000
	for i := range n {
		fmt.Fprintf(&toml, "[[group.rule]]\naction = 'allow'\ncalls = ['ioctl(_, %d)']\n", i)
		fmt.Fprintf(&oci, `{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": %d, "op": "SCMP_CMP_EQ"}]},`+"\n", i)
	}
	text := strings.TrimSuffix(oci.String(), ",\n") + "]}"
	for _, data := range []string{toml.String(), text} {
		start := time.Now()
		p, _, _, err := Read("f", []byte(data), amd64)
		if err != nil || len(p.Groups) != 1 || len(p.Groups[0].Rules) != n {
			t.Fatal(err)
		}
		read := time.Since(start)
		// Values that do not touch: no filter has room for that many.
		for i := range p.Groups[0].Rules {
			p.Groups[0].Rules[i].Args[0].Value *= 3
		}
		if _, err := seccomp.Compile(p, seccomp.AMD64); err == nil || !strings.Contains(err.Error(), "instructions and the kernel takes 4096; most, about 50002, are for the arguments of ioctl on x86_64") {
			t.Error(err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%d bytes took %v, of which %v to read", len(data), d, read)
		} else {
			t.Logf("%d bytes took %v, of which %v to read", len(data), d, read)
		}
	}
}
