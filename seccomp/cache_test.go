package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// kernelCaches reports whether the kernel answers a call without running the program
// (Linux 5.11, seccomp_is_const_allow): it follows the program with number and
// architecture alone, and gives up at any other load, and at what else it does not know.
func kernelCaches(prog []unix.SockFilter, a Arch, nr int32) bool {
	acc := uint32(0)
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		is := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			switch in.K {
			case 0:
				acc = uint32(nr)
			case 4:
				acc = a.Audit
			default:
				return false
			}
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K == unix.SECCOMP_RET_ALLOW
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			is = acc == in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			is = acc >= in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			is = acc > in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			is = acc&in.K != 0
		default:
			return false
		}
		if is {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	return false
}

// TestKernelCache: what a profile allows whatever the arguments are, the kernel's
// per-filter bitmap answers.
func TestKernelCache(t *testing.T) {
	for _, a := range []Arch{AMD64, ARM64} {
		for _, name := range []string{"default", "build", "strict"} {
			p := builtin(t, name)
			prog, _ := Precompiled(name, a.GOARCH)
			conditions := map[string]bool{}
			for _, g := range p.Groups {
				for _, r := range g.Rules {
					for _, call := range r.Syscalls {
						conditions[call] = conditions[call] || len(r.Args) > 0
					}
				}
			}
			cached := 0
			for nr, call := range a.Calls() {
				plain := Decide(p, a, Data{NR: nr, Arch: a.Audit}).Action == Allow && !conditions[call]
				if got := kernelCaches(prog, a, nr); plain && !got {
					t.Errorf("%s for %s: the kernel has to run the program for %s", name, a, call)
				} else if got {
					cached++
					if Decide(p, a, Data{NR: nr, Arch: a.Audit}).Action != Allow {
						t.Errorf("%s for %s: the kernel would let %s pass", name, a, call)
					}
				}
			}
			t.Logf("%s for %s: %d calls are answered by the kernel's bitmap", name, a, cached)
		}
	}
}
