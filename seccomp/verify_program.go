package seccomp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// program is what a program returns for every input. No program allows all.
func (d *diagram) program(prog []unix.SockFilter) (node, error) {
	if len(prog) == 0 {
		return d.number(uint32(Allow)), nil
	}
	if err := loadable(prog); err != nil {
		return no, err
	}
	e := d.evaluator(prog)
	return e.result(), e.err
}

// evaluator runs a program on all inputs at once: registers hold words of
// functions. Classic BPF has no loops, so a jump is where the input chooses
// between two ends of the program, and what they return is joined.
type evaluator struct {
	*diagram
	prog  []unix.SockFilter
	words map[[32]node]value
	bits  []word
	known map[state]node // what is returned from there on
	err   error
}

// value is a word that a register may hold, an index into bits: two are equal
// when the words are.
type value int32

// state is all that the rest of a program depends on.
type state struct {
	pc     int
	a, x   value
	memory [16]value
}

func (d *diagram) evaluator(prog []unix.SockFilter) *evaluator {
	return &evaluator{diagram: d, prog: prog, words: map[[32]node]value{}, known: map[state]node{}}
}

// result is what the program returns. A program begins with registers that are 0;
// its scratch memory is not read before it is written.
func (e *evaluator) result() node {
	zero := e.value(literal(0, 32))
	start := state{a: zero, x: zero}
	for i := range start.memory {
		start.memory[i] = zero
	}
	return e.from(start)
}

func (e *evaluator) value(w word) value {
	key := [32]node(w)
	v, ok := e.words[key]
	if !ok {
		v = value(len(e.bits))
		e.words[key] = v
		e.bits = append(e.bits, w)
	}
	return v
}

// from is what the program returns from a state on.
func (e *evaluator) from(s state) node {
	if result, ok := e.known[s]; ok {
		return result
	}
	if e.exhausted(len(e.known)) || e.err != nil {
		return no
	}
	result := e.run(s)
	e.known[s] = result
	return result
}

func (e *evaluator) run(s state) node {
	for ; ; s.pc++ {
		in := e.prog[s.pc]
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			s.a = e.value(e.load(int(in.K / 4)))
		case unix.BPF_LD | unix.BPF_W | unix.BPF_LEN:
			s.a = e.value(literal(sizeofData, 32))
		case unix.BPF_LDX | unix.BPF_W | unix.BPF_LEN:
			s.x = e.value(literal(sizeofData, 32))
		case unix.BPF_LD | unix.BPF_IMM:
			s.a = e.value(literal(uint64(in.K), 32))
		case unix.BPF_LDX | unix.BPF_IMM:
			s.x = e.value(literal(uint64(in.K), 32))
		case unix.BPF_LD | unix.BPF_MEM:
			s.a = s.memory[in.K]
		case unix.BPF_LDX | unix.BPF_MEM:
			s.x = s.memory[in.K]
		case unix.BPF_ST:
			s.memory[in.K] = s.a
		case unix.BPF_STX:
			s.memory[in.K] = s.x
		case unix.BPF_MISC | unix.BPF_TAX:
			s.x = s.a
		case unix.BPF_MISC | unix.BPF_TXA:
			s.a = s.x
		case unix.BPF_RET | unix.BPF_K:
			return e.number(in.K)
		case unix.BPF_RET | unix.BPF_A:
			return e.join(e.bits[s.a])
		case unix.BPF_JMP | unix.BPF_JA:
			s.pc += int(in.K)
		default:
			operand := literal(uint64(in.K), 32)
			if in.Code&unix.BPF_X != 0 {
				operand = e.bits[s.x]
			}
			if in.Code&7 == unix.BPF_JMP {
				return e.jump(s, in, operand)
			}
			w, err := e.compute(in.Code, e.bits[s.a], operand)
			if err != nil {
				e.err = fmt.Errorf("seccomp: instruction %d is outside of what can be proven: %w", s.pc, err)
				return no
			}
			s.a = e.value(w)
		}
	}
}

func (e *evaluator) jump(s state, in unix.SockFilter, operand word) node {
	var holds node
	switch in.Code &^ unix.BPF_X {
	case unix.BPF_JMP | unix.BPF_JEQ:
		holds = e.equal(e.bits[s.a], operand)
	case unix.BPF_JMP | unix.BPF_JGT:
		holds = e.above(e.bits[s.a], operand, false)
	case unix.BPF_JMP | unix.BPF_JGE:
		holds = e.above(e.bits[s.a], operand, true)
	default: // JSET
		holds = e.shared(e.bits[s.a], operand)
	}
	then, otherwise := s, s
	then.pc += 1 + int(in.Jt)
	otherwise.pc += 1 + int(in.Jf)
	// Where it always or never holds, the other end of the program is not run.
	switch holds {
	case yes:
		return e.from(then)
	case no:
		return e.from(otherwise)
	}
	return e.choose(holds, e.from(then), e.from(otherwise))
}

// compute is arithmetic, as far as its result is a word of small functions.
func (e *evaluator) compute(code uint16, a, operand word) (word, error) {
	invert := func(w word) word { return each(w, literal(0xffffffff, 32), e.xor) }
	switch code &^ unix.BPF_X {
	case unix.BPF_ALU | unix.BPF_AND:
		return each(a, operand, e.and), nil
	case unix.BPF_ALU | unix.BPF_OR:
		return each(a, operand, e.or), nil
	case unix.BPF_ALU | unix.BPF_XOR:
		return each(a, operand, e.xor), nil
	case unix.BPF_ALU | unix.BPF_ADD:
		return e.sum(a, operand, no), nil
	case unix.BPF_ALU | unix.BPF_SUB:
		return e.sum(a, invert(operand), yes), nil
	case unix.BPF_ALU | unix.BPF_NEG:
		return e.sum(literal(0, 32), invert(a), yes), nil
	case unix.BPF_ALU | unix.BPF_LSH, unix.BPF_ALU | unix.BPF_RSH:
		by := 0
		for i, bit := range operand[:5] { // the kernel looks at no more
			if bit != no && bit != yes {
				return nil, errors.New("it shifts by a value that depends on the call")
			}
			by |= int(bit) << i
		}
		zeros := literal(0, by)
		if code&^unix.BPF_X == unix.BPF_ALU|unix.BPF_LSH {
			return append(zeros, a[:32-by]...), nil
		}
		return append(append(word{}, a[by:]...), zeros...), nil
	case unix.BPF_ALU | unix.BPF_MUL:
		return nil, errors.New("it multiplies")
	}
	return nil, errors.New("it divides")
}
