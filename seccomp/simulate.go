package seccomp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Simulate runs a program on a call as the kernel would and returns the answer
// and the number of instructions executed. It fails on programs that the kernel
// would not load.
func Simulate(prog []unix.SockFilter, d Data) (Action, int, error) {
	var words [16]uint32
	words[0], words[1], words[2], words[3] = uint32(d.NR), d.Arch, uint32(d.IP), uint32(d.IP>>32)
	for i, a := range d.Args {
		words[4+2*i], words[5+2*i] = uint32(a), uint32(a>>32)
	}
	acc := uint32(0)
	steps := 0
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		steps++
		branch := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if in.K%4 != 0 || in.K >= 64 {
				return 0, steps, fmt.Errorf("seccomp: instruction %d loads offset %d, which struct seccomp_data does not have", pc, in.K)
			}
			acc = words[in.K/4]
		case unix.BPF_JMP | unix.BPF_JA:
			if in.K > uint32(len(prog)) {
				return 0, steps, fmt.Errorf("seccomp: instruction %d jumps out of the program", pc)
			}
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			branch(acc == in.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			branch(acc > in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			branch(acc >= in.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			branch(acc&in.K != 0)
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
		case unix.BPF_RET | unix.BPF_K:
			return Action(in.K), steps, nil
		default:
			return 0, steps, fmt.Errorf("seccomp: instruction %d has code %#x, which filters of this package do not use", pc, in.Code)
		}
	}
	return 0, steps, errors.New("seccomp: the program ends without a return")
}

// Decision is what a profile says of a call, and which part of it says so.
type Decision struct {
	Action Action
	Group  string // "" when no rule holds: the profile's default decides
	Reason string
}

// Decide evaluates the rules one by one, with no compiling: slowly and plainly.
// It is what a compiled program is held against.
func Decide(p Profile, a Arch, d Data) Decision {
	if len(p.Groups) == 0 && p.Default == Allow {
		return Decision{Action: Allow, Reason: "there is no filter"}
	}
	if d.Arch != a.Audit || a.x32 && uint32(d.NR) >= x32Bit {
		return Decision{Action: p.BadArch, Reason: "numbers of another architecture are a second door to every call"}
	}
	name, ok := a.Name(d.NR)
	if !ok {
		return Decision{Action: p.Unknown, Reason: "a call newer than the profile does not exist, so that programs fall back"}
	}
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			for _, n := range r.Syscalls {
				if n == name && r.holds(d) {
					return Decision{Action: r.Action, Group: g.Name, Reason: g.Reason}
				}
			}
		}
	}
	return Decision{Action: p.Default, Reason: "no rule of profile " + p.Name + " allows it"}
}

func (r *Rule) holds(d Data) bool {
	for _, c := range r.Args {
		if !c.holds(d.Args[c.Index]) {
			return false
		}
	}
	return true
}

func (c *Arg) holds(arg uint64) bool {
	value, mask := c.Value, c.Mask
	if c.Low32 {
		arg, value, mask = arg&0xffffffff, value&0xffffffff, mask&0xffffffff
	}
	switch c.Op {
	case Equal:
		return arg == value
	case NotEqual:
		return arg != value
	case Less:
		return arg < value
	case LessEqual:
		return arg <= value
	case Greater:
		return arg > value
	case GreaterEqual:
		return arg >= value
	}
	return arg&mask == value
}
