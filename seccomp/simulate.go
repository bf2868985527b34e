package seccomp

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Simulate runs a program on a call as the kernel would and returns the answer
// and the number of instructions executed. It takes every program that seccomp(2)
// takes, whoever compiled it, and fails on those that the kernel would not load.
func Simulate(prog []unix.SockFilter, d Data) (Action, int, error) {
	return simulate(prog, d, nil)
}

// Visit is an instruction that was executed, and the accumulator after it.
type Visit struct {
	PC          int
	Accumulator uint32
}

// Path is Simulate, and the way through the program.
func Path(prog []unix.SockFilter, d Data) ([]Visit, Action, error) {
	var way []Visit
	answer, _, err := simulate(prog, d, func(v Visit) { way = append(way, v) })
	return way, answer, err
}

// simulate calls visit, if there is one, with each instruction before the next.
func simulate(prog []unix.SockFilter, d Data, visit func(Visit)) (Action, int, error) {
	if err := loadable(prog); err != nil {
		return 0, 0, err
	}
	words := d.words()
	var a, x uint32
	var memory [16]uint32
	last := -1
	visited := func() {
		if visit != nil && last >= 0 {
			visit(Visit{PC: last, Accumulator: a})
		}
	}
	defer visited() // the return
	for pc, steps := 0, 1; ; pc, steps = pc+1, steps+1 {
		visited()
		last = pc
		in := prog[pc]
		operand := in.K
		if in.Code&unix.BPF_X != 0 {
			operand = x
		}
		switch in.Code &^ unix.BPF_X {
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ, unix.BPF_JMP | unix.BPF_JGT, unix.BPF_JMP | unix.BPF_JGE, unix.BPF_JMP | unix.BPF_JSET:
			if jumps(in.Code, a, operand) {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
			continue
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = words[in.K/4]
		case unix.BPF_LD | unix.BPF_W | unix.BPF_LEN:
			a = sizeofData
		case unix.BPF_LDX | unix.BPF_W | unix.BPF_LEN:
			x = sizeofData
		case unix.BPF_LD | unix.BPF_IMM:
			a = in.K
		case unix.BPF_LDX | unix.BPF_IMM:
			x = in.K
		case unix.BPF_LD | unix.BPF_MEM:
			a = memory[in.K]
		case unix.BPF_LDX | unix.BPF_MEM:
			x = memory[in.K]
		case unix.BPF_ST:
			memory[in.K] = a
		case unix.BPF_STX:
			memory[in.K] = x
		case unix.BPF_MISC | unix.BPF_TAX:
			x = a
		case unix.BPF_MISC | unix.BPF_TXA:
			a = x
		case unix.BPF_RET | unix.BPF_K:
			return Action(in.K), steps, nil
		case unix.BPF_RET | unix.BPF_A:
			return Action(a), steps, nil
		case unix.BPF_ALU | unix.BPF_DIV | unix.BPF_X:
			if x == 0 {
				return 0, steps, nil // the kernel ends such a program with 0, which is KillThread
			}
			a /= x
		default:
			a = compute(in.Code, a, operand)
		}
	}
}

// sizeofData is the size of struct seccomp_data in bytes.
const sizeofData = 64

// auditLE is set in the AUDIT_ARCH_* of little-endian architectures.
const auditLE = 0x40000000

// words is struct seccomp_data as the architecture of the call lays it out.
func (d *Data) words() (w [sizeofData / 4]uint32) {
	low, high := 0, 1
	if d.Arch&auditLE == 0 {
		low, high = 1, 0
	}
	w[0], w[1] = uint32(d.NR), d.Arch
	w[2+low], w[2+high] = uint32(d.IP), uint32(d.IP>>32)
	for i, arg := range d.Args {
		w[4+2*i+low], w[4+2*i+high] = uint32(arg), uint32(arg>>32)
	}
	return w
}

func jumps(code uint16, a, operand uint32) bool {
	switch code & 0xf0 {
	case unix.BPF_JEQ:
		return a == operand
	case unix.BPF_JGT:
		return a > operand
	case unix.BPF_JGE:
		return a >= operand
	}
	return a&operand != 0
}

// compute is arithmetic. The kernel looks at the lower five bits of a shift.
func compute(code uint16, a, operand uint32) uint32 {
	switch code & 0xf0 {
	case unix.BPF_ADD:
		return a + operand
	case unix.BPF_SUB:
		return a - operand
	case unix.BPF_MUL:
		return a * operand
	case unix.BPF_DIV:
		return a / operand
	case unix.BPF_OR:
		return a | operand
	case unix.BPF_AND:
		return a & operand
	case unix.BPF_XOR:
		return a ^ operand
	case unix.BPF_LSH:
		return a << (operand & 31)
	case unix.BPF_RSH:
		return a >> (operand & 31)
	}
	return -a // BPF_NEG
}

// loadable says why the kernel would refuse a program: what it checks of every
// classic BPF program, and the instructions that it knows in filters of calls.
func loadable(prog []unix.SockFilter) error {
	if len(prog) == 0 || len(prog) > maxInstructions {
		return fmt.Errorf("seccomp: a filter has 1 to %d instructions, this has %d", maxInstructions, len(prog))
	}
	for pc, in := range prog {
		if err := checkInstruction(in, pc, len(prog)); err != nil {
			return fmt.Errorf("seccomp: instruction %d: %w; the kernel refuses such a filter", pc, err)
		}
	}
	if last := prog[len(prog)-1].Code; last != unix.BPF_RET|unix.BPF_K && last != unix.BPF_RET|unix.BPF_A {
		return errors.New("seccomp: the last instruction is no return; the kernel refuses such a filter")
	}
	return checkMemory(prog)
}

func checkInstruction(in unix.SockFilter, pc, length int) error {
	behind := uint32(length - pc - 1)
	switch in.Code {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		if in.K%4 != 0 || in.K >= sizeofData {
			return fmt.Errorf("loads offset %d, where struct seccomp_data has no word", in.K)
		}
	case unix.BPF_LD | unix.BPF_MEM, unix.BPF_LDX | unix.BPF_MEM, unix.BPF_ST, unix.BPF_STX:
		if in.K >= 16 {
			return fmt.Errorf("uses scratch word %d; there are 16", in.K)
		}
	case unix.BPF_ALU | unix.BPF_DIV | unix.BPF_K:
		if in.K == 0 {
			return errors.New("divides by zero")
		}
	case unix.BPF_ALU | unix.BPF_LSH | unix.BPF_K, unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K:
		if in.K >= 32 {
			return fmt.Errorf("shifts a word by %d", in.K)
		}
	case unix.BPF_JMP | unix.BPF_JA:
		if in.K >= behind {
			return errors.New("jumps out of the program")
		}
	case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X,
		unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGT | unix.BPF_X,
		unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_X,
		unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_X:
		if uint32(max(in.Jt, in.Jf)) >= behind {
			return errors.New("jumps out of the program")
		}
	case unix.BPF_LD | unix.BPF_W | unix.BPF_LEN, unix.BPF_LDX | unix.BPF_W | unix.BPF_LEN,
		unix.BPF_LD | unix.BPF_IMM, unix.BPF_LDX | unix.BPF_IMM, unix.BPF_MISC | unix.BPF_TAX, unix.BPF_MISC | unix.BPF_TXA,
		unix.BPF_RET | unix.BPF_K, unix.BPF_RET | unix.BPF_A,
		unix.BPF_ALU | unix.BPF_ADD | unix.BPF_K, unix.BPF_ALU | unix.BPF_ADD | unix.BPF_X,
		unix.BPF_ALU | unix.BPF_SUB | unix.BPF_K, unix.BPF_ALU | unix.BPF_SUB | unix.BPF_X,
		unix.BPF_ALU | unix.BPF_MUL | unix.BPF_K, unix.BPF_ALU | unix.BPF_MUL | unix.BPF_X,
		unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, unix.BPF_ALU | unix.BPF_AND | unix.BPF_X,
		unix.BPF_ALU | unix.BPF_OR | unix.BPF_K, unix.BPF_ALU | unix.BPF_OR | unix.BPF_X,
		unix.BPF_ALU | unix.BPF_XOR | unix.BPF_K, unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X,
		unix.BPF_ALU | unix.BPF_DIV | unix.BPF_X, unix.BPF_ALU | unix.BPF_LSH | unix.BPF_X,
		unix.BPF_ALU | unix.BPF_RSH | unix.BPF_X, unix.BPF_ALU | unix.BPF_NEG:
	default:
		return fmt.Errorf("code %#x is none that filters of system calls may use", in.Code)
	}
	return nil
}

// checkMemory sees that no scratch word is read on a way on which none was
// written. Jumps go forward only, so one pass over the program is enough.
func checkMemory(prog []unix.SockFilter) error {
	reads := func(in unix.SockFilter) bool {
		return in.Code == unix.BPF_LD|unix.BPF_MEM || in.Code == unix.BPF_LDX|unix.BPF_MEM
	}
	if !slices.ContainsFunc(prog, reads) {
		return nil
	}
	written := make([]uint16, len(prog)) // on all ways to an instruction
	for pc := range written {
		written[pc] = 0xffff
	}
	words := uint16(0)
	for pc, in := range prog {
		words &= written[pc]
		reach := func(offset uint32) { written[pc+1+int(offset)] &= words }
		switch in.Code {
		case unix.BPF_ST, unix.BPF_STX:
			words |= 1 << in.K
		case unix.BPF_LD | unix.BPF_MEM, unix.BPF_LDX | unix.BPF_MEM:
			if words&(1<<in.K) == 0 {
				return fmt.Errorf("seccomp: instruction %d reads scratch word %d, which may not have been written; the kernel refuses such a filter", pc, in.K)
			}
		case unix.BPF_JMP | unix.BPF_JA:
			reach(in.K)
			words = 0xffff
		default:
			if in.Code&7 == unix.BPF_JMP {
				reach(uint32(in.Jt))
				reach(uint32(in.Jf))
				words = 0xffff
			}
		}
	}
	return nil
}
