package seccomp

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Disassemble prints a program, one instruction a line, with the names of the
// fields that are loaded, of system calls and of answers.
func Disassemble(prog []unix.SockFilter, a Arch) string {
	var b strings.Builder
	loaded := uint32(0)
	for i, in := range prog {
		fmt.Fprintf(&b, "%4d: ", i)
		target := func(off uint32) int { return i + 1 + int(off) }
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			loaded = in.K
			fmt.Fprintf(&b, "ld   [%d]", in.K)
			fmt.Fprintf(&b, "\t; %s", fieldName(in.K))
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			fmt.Fprintf(&b, "and  #%#x", in.K)
		case unix.BPF_RET | unix.BPF_K:
			fmt.Fprintf(&b, "ret  #%#x\t; %s", in.K, Action(in.K))
		case unix.BPF_JMP | unix.BPF_JA:
			fmt.Fprintf(&b, "jmp  %d", target(in.K))
		default:
			op := map[uint16]string{unix.BPF_JEQ: "jeq", unix.BPF_JGT: "jgt", unix.BPF_JGE: "jge", unix.BPF_JSET: "jset"}[in.Code&0xf0]
			if op == "" || in.Code&0xf != unix.BPF_JMP|unix.BPF_K {
				fmt.Fprintf(&b, ".word %#x, %d, %d, %#x", in.Code, in.Jt, in.Jf, in.K)
				break
			}
			fmt.Fprintf(&b, "%-4s #%#x, %d, %d", op, in.K, target(uint32(in.Jt)), target(uint32(in.Jf)))
			if loaded == offsetNR && in.K < x32Bit {
				if name, ok := a.Name(int32(in.K)); ok {
					fmt.Fprintf(&b, "\t; %s", name)
				}
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func fieldName(offset uint32) string {
	switch {
	case offset == offsetNR:
		return "system call number"
	case offset == offsetArch:
		return "architecture"
	case offset < offsetArgs:
		return "instruction pointer"
	case offset >= 64:
		return "outside of struct seccomp_data"
	}
	half := "low word"
	if offset%8 == 4 {
		half = "high word"
	}
	return fmt.Sprintf("argument %d, %s", (offset-offsetArgs)/8, half)
}
