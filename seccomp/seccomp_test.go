package seccomp

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func builtin(t testing.TB, name string) Profile {
	t.Helper()
	p, ok := Builtin(name)
	if !ok {
		t.Fatalf("no profile %q", name)
	}
	return p
}

// TestFacts holds what the profiles answer, one fact a line.
func TestFacts(t *testing.T) {
	for _, f := range []struct{ profile, call, want string }{
		{"default", "read", "allow"},
		{"default", "execve", "allow"},
		{"default", "clone(CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD)", "allow"},
		{"default", "clone(CLONE_NEWUSER|SIGCHLD)", "EPERM"},
		{"default", "clone(CLONE_NEWNET|SIGCHLD)", "EPERM"},
		{"default", "clone3", "ENOSYS"},
		{"default", "unshare(CLONE_FILES)", "allow"},
		{"default", "unshare(CLONE_NEWUSER)", "EPERM"},
		{"default", "unshare(CLONE_NEWTIME)", "EPERM"},
		{"default", "setns", "EPERM"},
		{"default", "io_uring_setup", "ENOSYS"},
		{"default", "socket(AF_UNIX, SOCK_STREAM, 0)", "allow"},
		{"default", "socket(AF_INET6, SOCK_DGRAM, 0)", "allow"},
		{"default", "socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)", "allow"},
		{"default", "socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)", "EAFNOSUPPORT"},
		{"default", "socket(AF_VSOCK, SOCK_STREAM, 0)", "EAFNOSUPPORT"},
		{"default", "socket(AF_ALG, SOCK_SEQPACKET, 0)", "EAFNOSUPPORT"},
		{"default", "socketpair(AF_UNIX, SOCK_STREAM, 0)", "allow"},
		{"default", "ioctl(0, TCGETS)", "allow"},
		{"default", "ioctl(0, TIOCSTI)", "EPERM"},
		{"default", "ioctl(0, 0x100005412)", "EPERM"}, // CVE-2019-10063
		{"default", "ioctl(0, TIOCLINUX)", "EPERM"},
		{"default", "ptrace(PTRACE_ATTACH)", "EPERM"},
		{"default", "process_vm_writev", "EPERM"},
		{"default", "pidfd_getfd", "EPERM"},
		{"default", "keyctl", "EPERM"},
		{"default", "bpf", "EPERM"},
		{"default", "userfaultfd", "EPERM"},
		{"default", "perf_event_open", "EPERM"},
		{"default", "mount", "EPERM"},
		{"default", "move_mount", "EPERM"},
		{"default", "open_tree", "EPERM"},
		{"default", "pivot_root", "EPERM"},
		{"default", "personality(0)", "allow"},
		{"default", "personality(ADDR_NO_RANDOMIZE)", "EPERM"},
		{"default", "seccomp(SECCOMP_SET_MODE_FILTER, 0)", "allow"},
		{"default", "seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER)", "EPERM"},
		{"default", "400", "ENOSYS"},
		{"default", "2000", "ENOSYS"},
		{"build", "ptrace(PTRACE_TRACEME)", "allow"},
		{"build", "personality(ADDR_NO_RANDOMIZE)", "allow"},
		{"build", "ioctl(0, TIOCSTI)", "EPERM"},
		{"build", "mount", "EPERM"},
		{"strict", "execve", "allow"},
		{"strict", "openat(AT_FDCWD, 0, O_RDONLY|O_CLOEXEC)", "allow"},
		{"strict", "openat(AT_FDCWD, 0, O_WRONLY|O_CREAT)", "EPERM"},
		{"strict", "fork", "kill-process"},
		{"strict", "connect", "kill-process"},
	} {
		for _, a := range []Arch{AMD64, ARM64} {
			d, err := ParseCall(f.call, a)
			if err != nil {
				if strings.Contains(err.Error(), "is not a system call of") {
					continue
				}
				t.Fatal(err)
			}
			prog, _ := Precompiled(f.profile, a.GOARCH)
			got, _, err := Simulate(prog, d)
			if err != nil || got.String() != f.want {
				t.Errorf("%s %s: %s: %v %v, want %s", a.GOARCH, f.profile, f.call, got, err, f.want)
			}
		}
	}
}

// TestForeignArchitecture: the other doors to the same calls are shut.
func TestForeignArchitecture(t *testing.T) {
	prog, _ := Precompiled("default", "amd64")
	for _, d := range []Data{
		{NR: 4, Arch: unix.AUDIT_ARCH_I386},
		{NR: 0, Arch: unix.AUDIT_ARCH_AARCH64},
		{NR: x32Bit, Arch: unix.AUDIT_ARCH_X86_64},
		{NR: x32Bit + 59, Arch: unix.AUDIT_ARCH_X86_64},
	} {
		if got, _, err := Simulate(prog, d); got != KillProcess || err != nil {
			t.Errorf("%+v: %v, %v", d, got, err)
		}
	}
	// What a tracer leaves of a call that it skips kills nobody.
	if got, _, err := Simulate(prog, Data{NR: -1, Arch: unix.AUDIT_ARCH_X86_64}); got != Errno(unix.ENOSYS) || err != nil {
		t.Errorf("number -1: %v, %v", got, err)
	}
}

// TestPrecompiled: what `go generate` wrote is what the profiles say.
func TestPrecompiled(t *testing.T) {
	for _, a := range []Arch{AMD64, ARM64} {
		for _, name := range Builtins() {
			want, err := Compile(builtin(t, name), a)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := Precompiled(name, a.GOARCH)
			if !ok || !slices.Equal(got, want) {
				t.Errorf("%s on %s differs; run go generate ./seccomp", name, a.GOARCH)
			}
			t.Logf("%s on %s: %d instructions", name, a.GOARCH, len(got))
		}
		for _, reported := range []bool{false, true} {
			want, err := CompileInit(a, reported)
			if err != nil || !slices.Equal(InitProgram(a.GOARCH, reported), want) {
				t.Errorf("init on %s differs; run go generate ./seccomp", a.GOARCH)
			}
		}
	}
}

// corners are the values at which comparisons of halves and signs go wrong.
var corners = []uint64{0, 1, 2, 0x5412, 0x100005412, 1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1 << 63, ^uint64(0)}

func randomData(r *rand.Rand, a Arch) Data {
	d := Data{NR: int32(r.IntN(int(a.Last()) + 20)), Arch: a.Audit}
	switch r.IntN(40) {
	case 0:
		d.Arch = unix.AUDIT_ARCH_I386
	case 1:
		d.NR |= x32Bit
	case 2:
		d.NR = int32(r.Uint32())
	}
	for i := range d.Args {
		d.Args[i] = corners[r.IntN(len(corners))]
		if r.IntN(4) == 0 {
			d.Args[i] = 1 << r.IntN(64)
		}
		if r.IntN(8) == 0 {
			d.Args[i] = uint64(r.IntN(64))
		}
	}
	return d
}

// TestAgreement: compiled program, naive evaluator and another BPF machine agree.
func TestAgreement(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, a := range []Arch{AMD64, ARM64} {
		for _, name := range []string{"default", "build", "strict"} {
			p := builtin(t, name)
			prog, _ := Precompiled(name, a.GOARCH)
			for range 20000 {
				agree(t, p, a, prog, randomData(r, a), nil)
			}
		}
		for range 150 {
			p := randomProfile(r, a)
			prog, err := Compile(p, a)
			if err != nil {
				t.Fatal(err)
			}
			vm := machine(t, prog)
			for range 400 {
				agree(t, p, a, prog, randomData(r, a), vm)
			}
		}
	}
}

func randomProfile(r *rand.Rand, a Arch) Profile {
	actions := []Action{Allow, KillProcess, Errno(unix.EPERM), Errno(unix.ENOSYS), Log, Trap}
	var names []string
	for _, name := range a.Calls() {
		names = append(names, name)
	}
	p := Profile{Name: "random", Default: actions[r.IntN(len(actions))], Unknown: Errno(unix.ENOSYS), BadArch: KillProcess}
	for range 1 + r.IntN(40) {
		rule := Rule{Action: actions[r.IntN(len(actions))]}
		for range 1 + r.IntN(6) {
			rule.Syscalls = append(rule.Syscalls, names[r.IntN(len(names))])
		}
		for range r.IntN(4) {
			rule.Args = append(rule.Args, randomArg(r))
		}
		p.Groups = append(p.Groups, Group{Name: "g", Rules: []Rule{rule}})
	}
	return p
}

// randomArg is a comparison whose outcome depends on the argument.
func randomArg(r *rand.Rand) Arg {
	for {
		arg := Arg{Index: r.IntN(6), Op: Op(r.IntN(7)), Value: corners[r.IntN(len(corners))], Mask: corners[r.IntN(len(corners))], Low32: r.IntN(2) == 0}
		if arg.Op == MaskedEqual {
			arg.Value &= arg.Mask
		} else {
			arg.Mask = 0
		}
		if arg.validate() == nil {
			return arg
		}
	}
}

func agree(t *testing.T, p Profile, a Arch, prog []unix.SockFilter, d Data, vm *bpf.VM) {
	t.Helper()
	got, _, err := Simulate(prog, d)
	want := Decide(p, a, d).Action
	if err != nil || got != want {
		t.Fatalf("%s %+v: program %v (%v), rules %v\n%s", p.Name, d, got, err, want, Disassemble(prog, a))
	}
	if vm == nil {
		return
	}
	// The other machine reads packets, which are big-endian.
	buf := binary.BigEndian.AppendUint32(nil, uint32(d.NR))
	buf = binary.BigEndian.AppendUint32(buf, d.Arch)
	buf = binary.BigEndian.AppendUint64(buf, 0)
	for _, v := range d.Args {
		buf = binary.BigEndian.AppendUint32(buf, uint32(v))
		buf = binary.BigEndian.AppendUint32(buf, uint32(v>>32))
	}
	other, err := vm.Run(buf)
	if err != nil || Action(uint32(other)) != got {
		t.Fatalf("%+v: %v here, %v (%v) by x/net/bpf", d, got, Action(uint32(other)), err)
	}
}

func machine(t *testing.T, prog []unix.SockFilter) *bpf.VM {
	t.Helper()
	var list []bpf.Instruction
	for _, in := range prog {
		list = append(list, bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble())
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// TestLongJumps: a profile of which every call has conditions is longer than a
// conditional jump reaches.
func TestLongJumps(t *testing.T) {
	p := Profile{Name: "long", Default: Errno(unix.EPERM), Unknown: Errno(unix.ENOSYS), BadArch: KillProcess}
	for nr, name := range AMD64.Calls() {
		p.Groups = append(p.Groups, Group{Name: "g", Rules: []Rule{when(name, Arg{Index: 1, Op: Equal, Value: uint64(nr)<<32 + 7})}})
	}
	prog, err := Compile(p, AMD64)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	vm := machine(t, prog)
	for range 5000 {
		d := randomData(r, AMD64)
		if r.IntN(2) == 0 {
			d.Args[1] = uint64(d.NR)<<32 + 7
		}
		agree(t, p, AMD64, prog, d, vm)
	}
	for i := range p.Groups {
		for j := range 4 {
			p.Groups[i].Rules = append(p.Groups[i].Rules, when(p.Groups[i].Rules[0].Syscalls[0], Arg{Index: j, Op: Less, Value: uint64(i*j+2)<<32 + 5}))
		}
	}
	if _, err := Compile(p, AMD64); err == nil || !strings.Contains(err.Error(), "are for the arguments of") {
		t.Errorf("a program that is too long: %v", err)
	}
}

func TestBadNames(t *testing.T) {
	for call, want := range map[string]string{
		"opeat":                      "do you mean",
		"socket(AF_FOO)":             "neither a number nor a constant",
		"socket(1":                   "closing parenthesis",
		"read(1,2,3,4,5,6,7)":        "at most six",
		"nosuchcallatallintheworld(": "no system call",
	} {
		if _, err := ParseCall(call, AMD64); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", call, err, want)
		}
	}
	if _, err := ParseCall("fork", ARM64); err == nil || !strings.Contains(err.Error(), "is not a system call of arm64") {
		t.Errorf("fork on arm64: %v", err)
	}
	p := Profile{Name: "typo", Groups: []Group{{Name: "g", Rules: []Rule{allow("opeat")}}}}
	if _, err := Compile(p, AMD64); err == nil || !strings.Contains(err.Error(), "do you mean openat") {
		t.Errorf("typo: %v", err)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, s1, s2 uint64) {
		r := rand.New(rand.NewPCG(s1, s2))
		p := randomProfile(r, AMD64)
		prog, err := Compile(p, AMD64)
		if err != nil {
			return
		}
		vm := machine(t, prog)
		for range 50 {
			agree(t, p, AMD64, prog, randomData(r, AMD64), vm)
		}
	})
}
