package learn

import "github.com/cloche-sandbox/cloche/seccomp"

// A selector is an argument that decides what a call does, so that a policy
// should name its values. Others are addresses, lengths and descriptors, which
// differ from run to run.
type selector struct {
	index int
	flags bool // of bits, each of which has a meaning of its own
	low32 bool // the kernel looks at the lower 32 bits alone
}

// selectors are those of each call, by the calls' man pages.
var selectors = map[string][]selector{
	"arch_prctl":  {value32(0)},
	"bpf":         {value32(0)},
	"clone":       {{index: 0, flags: true}}, // unsigned long; the signal at exit is in its low byte
	"fcntl":       {value32(1)},
	"getsockopt":  {value32(1), value32(2)},
	"ioctl":       {value32(1)},
	"keyctl":      {value32(0)},
	"madvise":     {value32(2)},
	"mmap":        {{index: 2, flags: true}, {index: 3, flags: true}},
	"mprotect":    {{index: 2, flags: true}},
	"personality": {value32(0)},
	"prctl":       {value32(0)},
	"prlimit64":   {value32(1)},
	"ptrace":      {{index: 0}},
	"seccomp":     {value32(0)},
	"setsockopt":  {value32(1), value32(2)},
	"socket":      {value32(0), value32(1), value32(2)},
	"socketpair":  {value32(0), value32(1), value32(2)},
	"unshare":     {{index: 0, flags: true}},
}

func value32(index int) selector { return selector{index: index, low32: true} }

// seen is what the kernel sees of the argument.
func (s selector) seen(v uint64) uint64 {
	if s.low32 {
		return uint64(uint32(v))
	}
	return v
}

// noOtherBits holds when no bit is set but the given ones. A union of bits and not
// each combination, as programs combine their flags anew from run to run.
func (s selector) noOtherBits(bits uint64) seccomp.Arg {
	return seccomp.Arg{Index: s.index, Op: seccomp.MaskedEqual, Mask: s.seen(^bits), Low32: s.low32}
}
