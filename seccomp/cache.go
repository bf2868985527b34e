package seccomp

import "golang.org/x/sys/unix"

// Cached reports whether the kernel lets a call pass without running the program, by a
// bitmap that it makes when the filter is loaded (Linux 5.11, seccomp_cache_prepare): it
// follows the program with number and architecture alone, and gives up at any other
// load, and at what else it does not know. Most calls of most programs should be such.
func Cached(prog []unix.SockFilter, a Arch, nr int32) bool {
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
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
			continue
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
