package seccomp

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Instruction is one of a program's, for people.
type Instruction struct {
	Label   string // "L12" where a jump leads here, else ""
	Text    string // in the style of the kernel's bpf_asm: "jeq  #0x29, L14, next"
	Comment string // what it is about: "socket", "argument 0, low word", "EPERM"
}

// Annotate reads a program as a person would: it follows on which architecture and
// call each instruction is asked, so that numbers and arguments get their names. a is
// the architecture of programs that do not look at it.
func Annotate(prog []unix.SockFilter, a Arch) []Instruction {
	list := make([]Instruction, len(prog))
	known := make([]*knowledge, len(prog))
	reach := func(pc int, k knowledge) {
		if pc < len(prog) && known[pc] == nil {
			known[pc] = &k
		} else if pc < len(prog) {
			known[pc].meet(k)
		}
	}
	reach(0, knowledge{field: -1, audit: a.Audit, nr: -1})
	for pc, in := range prog {
		k := knowledge{field: -1, audit: a.Audit, nr: -1}
		if known[pc] != nil {
			k = *known[pc]
		}
		line := &list[pc]
		line.Text, line.Comment = instruction(in, pc), k.comment(in, a)
		switch {
		case in.Code&7 == unix.BPF_RET:
			continue
		case in.Code == unix.BPF_JMP|unix.BPF_JA:
			reach(pc+1+int(in.K), k)
			continue
		case in.Code&7 == unix.BPF_JMP:
			yes := k
			if in.Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
				switch k.field {
				case offsetArch:
					yes.audit = in.K
				case offsetNR:
					yes.nr = int64(in.K)
				}
			}
			reach(pc+1+int(in.Jt), yes)
			reach(pc+1+int(in.Jf), k)
			continue
		case in.Code == unix.BPF_LD|unix.BPF_W|unix.BPF_ABS:
			k.field = int64(in.K)
		case in.Code&7 == unix.BPF_LD || in.Code == unix.BPF_MISC|unix.BPF_TXA:
			k.field = -1
		}
		reach(pc+1, k)
	}
	for pc, in := range prog {
		var targets []int
		switch {
		case in.Code == unix.BPF_JMP|unix.BPF_JA:
			targets = []int{pc + 1 + int(in.K)}
		case in.Code&7 == unix.BPF_JMP:
			targets = []int{pc + 1 + int(in.Jt), pc + 1 + int(in.Jf)}
		}
		for _, t := range targets {
			if t != pc+1 && t < len(list) {
				list[t].Label = "L" + strconv.Itoa(t)
			}
		}
	}
	return list
}

// Disassemble prints a program, one instruction a line, with its number, labels, and the
// names of what is loaded, compared and answered.
func Disassemble(prog []unix.SockFilter, a Arch) string {
	var b strings.Builder
	for pc, in := range Annotate(prog, a) {
		b.WriteString(in.Line(pc) + "\n")
	}
	return b.String()
}

// Line is the instruction as Disassemble prints it, with its number.
func (i *Instruction) Line(pc int) string {
	label := ""
	if i.Label != "" {
		label = i.Label + ":"
	}
	s := fmt.Sprintf("%4d  %-6s %s", pc, label, i.Text)
	if i.Comment == "" {
		return s
	}
	return fmt.Sprintf("%-45s ; %s", s, i.Comment)
}

// knowledge is what is known where an instruction is reached; -1: nothing.
type knowledge struct {
	field int64  // the offset that was loaded
	audit uint32 // of the architecture
	nr    int64  // the call
}

// meet keeps what is known on both ways.
func (k *knowledge) meet(other knowledge) {
	if k.field != other.field {
		k.field = -1
	}
	if k.nr != other.nr {
		k.nr = -1
	}
	if k.audit != other.audit {
		k.audit = 0
	}
}

// call names a number on the architecture that is known; "" where there is none.
func (k *knowledge) call(nr int64) string {
	for _, a := range Archs() {
		if a.Audit == k.audit && nr >= 0 && nr <= 1<<31-1 && a.owns(int32(nr)) {
			if name, ok := a.Name(int32(nr)); ok {
				return name
			}
		}
	}
	return ""
}

func (k *knowledge) comment(in unix.SockFilter, a Arch) string {
	switch {
	case in.Code == unix.BPF_LD|unix.BPF_W|unix.BPF_ABS:
		big := a.BigEndian
		for _, other := range Archs() {
			if other.Audit == k.audit {
				big = other.BigEndian
			}
		}
		return fieldName(in.K, big, k.call(k.nr))
	case in.Code == unix.BPF_RET|unix.BPF_K:
		return Action(in.K).String()
	case in.Code&7 != unix.BPF_JMP || in.Code&unix.BPF_X != 0 || in.Code == unix.BPF_JMP|unix.BPF_JA:
		return ""
	}
	switch {
	case k.field == offsetArch:
		return auditName(in.K)
	case k.field == offsetNR:
		return compared(in.Code, k.call(int64(in.K)), in.K)
	case k.field >= offsetArgs && k.nr >= 0:
		return ConstantName(k.call(k.nr), int(k.field-offsetArgs)/8, uint64(in.K))
	}
	return ""
}

// compared says what a number is compared with.
func compared(code uint16, name string, nr uint32) string {
	switch {
	case nr == x32Bit && code&0xf0 == unix.BPF_JGE:
		return "the numbers of x32"
	case name == "":
		return ""
	}
	switch code & 0xf0 {
	case unix.BPF_JGE:
		return "from " + name + " on"
	case unix.BPF_JGT:
		return "above " + name
	}
	return name
}

func auditName(audit uint32) string {
	for _, a := range Archs() {
		if a.Audit == audit {
			return a.String()
		}
	}
	return ""
}

// instruction writes an instruction without what it means.
func instruction(in unix.SockFilter, pc int) string {
	target := func(offset uint32) string {
		if offset == 0 {
			return "next"
		}
		return "L" + strconv.Itoa(pc+1+int(offset))
	}
	operand := fmt.Sprintf("#%#x", in.K)
	if in.Code&unix.BPF_X != 0 {
		operand = "x"
	}
	switch in.Code {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		return fmt.Sprintf("ld   [%d]", in.K)
	case unix.BPF_LD | unix.BPF_IMM:
		return "ld   " + operand
	case unix.BPF_LDX | unix.BPF_IMM:
		return "ldx  " + operand
	case unix.BPF_LD | unix.BPF_MEM:
		return fmt.Sprintf("ld   M[%d]", in.K)
	case unix.BPF_LDX | unix.BPF_MEM:
		return fmt.Sprintf("ldx  M[%d]", in.K)
	case unix.BPF_LD | unix.BPF_W | unix.BPF_LEN:
		return "ld   len"
	case unix.BPF_LDX | unix.BPF_W | unix.BPF_LEN:
		return "ldx  len"
	case unix.BPF_ST:
		return fmt.Sprintf("st   M[%d]", in.K)
	case unix.BPF_STX:
		return fmt.Sprintf("stx  M[%d]", in.K)
	case unix.BPF_MISC | unix.BPF_TAX:
		return "tax"
	case unix.BPF_MISC | unix.BPF_TXA:
		return "txa"
	case unix.BPF_RET | unix.BPF_K:
		return "ret  " + operand
	case unix.BPF_RET | unix.BPF_A:
		return "ret  a"
	case unix.BPF_JMP | unix.BPF_JA:
		return "jmp  " + target(in.K)
	case unix.BPF_ALU | unix.BPF_NEG:
		return "neg"
	}
	jumps := map[uint16]string{unix.BPF_JEQ: "jeq", unix.BPF_JGT: "jgt", unix.BPF_JGE: "jge", unix.BPF_JSET: "jset"}
	computes := map[uint16]string{
		unix.BPF_ADD: "add", unix.BPF_SUB: "sub", unix.BPF_MUL: "mul", unix.BPF_DIV: "div", unix.BPF_OR: "or", unix.BPF_AND: "and",
		unix.BPF_XOR: "xor", unix.BPF_LSH: "lsh", unix.BPF_RSH: "rsh",
	}
	if name := jumps[in.Code&0xf0]; in.Code&7 == unix.BPF_JMP && name != "" {
		return fmt.Sprintf("%-4s %s, %s, %s", name, operand, target(uint32(in.Jt)), target(uint32(in.Jf)))
	}
	if name := computes[in.Code&0xf0]; in.Code&7 == unix.BPF_ALU && name != "" {
		return fmt.Sprintf("%-4s %s", name, operand)
	}
	return fmt.Sprintf(".word %#x, %d, %d, %#x", in.Code, in.Jt, in.Jf, in.K)
}

// fieldName names a word; call is whose argument it is, or "".
func fieldName(offset uint32, bigEndian bool, call string) string {
	switch {
	case offset == offsetNR:
		return "system call number"
	case offset == offsetArch:
		return "architecture"
	case offset < offsetArgs:
		return "instruction pointer"
	case offset >= sizeofData:
		return "outside of struct seccomp_data"
	}
	half := "low word"
	if (offset%8 == 4) != bigEndian {
		half = "high word"
	}
	if call != "" {
		call = " of " + call
	}
	return fmt.Sprintf("argument %d%s, %s", (offset-offsetArgs)/8, call, half)
}
