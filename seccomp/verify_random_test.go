package seccomp

import (
	"math/rand/v2"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// intricate makes random profiles of the kind at which an evaluator of rules and
// a compiler could come apart: few calls with many rules each, comparisons of
// corner values, calls behind socketcall and ipc, numbers with and without a
// name, ARM's own numbers, and inputs close to what the rules compare with.
type intricate struct {
	*rand.Rand
	archs  []Arch
	values []uint64 // that the rules compare with
	nrs    []int32  // that the rules name
}

// together are architectures that one program can serve.
var together = [][]Arch{
	{AMD64},
	{X32},
	{X86},
	{ARM64},
	{ARM},
	{RISCV64},
	{PPC64LE},
	{S390X},
	{AMD64, X86, X32},
	{X32, AMD64},
	{ARM64, ARM},
}

func newIntricate(s1, s2 uint64) *intricate {
	r := rand.New(rand.NewPCG(s1, s2))
	return &intricate{Rand: r, archs: together[r.IntN(len(together))], values: slices.Clone(corners)}
}

func (g *intricate) action() Action {
	return []Action{KillProcess, KillThread, Trap, Errno(unix.EPERM), Errno(unix.ENOSYS), Trace(7), UserNotify, Log, Allow, Allow}[g.IntN(10)]
}

// call is the name or the number of one.
func (g *intricate) call() string {
	a := g.archs[g.IntN(len(g.archs))]
	call, nr := "", a.bit+g.Int32N(a.Last()&^a.bit+40)
	switch g.IntN(4) {
	case 0:
		call = []string{"socket", "socketcall", "ipc", "semop", "bind", "shmctl", "set_tls", "recv"}[g.IntN(8)]
	case 1:
		call = strconv.Itoa(int(nr))
	default:
		call, _ = a.Name(nr)
	}
	if call == "" {
		call = "read"
	}
	for _, a := range g.archs {
		if nr, ok := a.Number(call); ok {
			g.nrs = append(g.nrs, nr)
		}
	}
	g.nrs = append(g.nrs, nr)
	return call
}

func (g *intricate) value() uint64 {
	v := g.values[g.IntN(len(g.values))]
	switch g.IntN(8) {
	case 0:
		v = g.Uint64() >> g.IntN(64)
	case 1:
		v = 1 << g.IntN(64)
	case 2:
		v += uint64(g.IntN(3)) - 1
	}
	return v
}

// condition is one that Compile takes.
func (g *intricate) condition() Arg {
	for {
		c := Arg{Index: g.IntN(6), Op: Op(g.IntN(7)), Value: g.value(), Low32: g.IntN(2) == 0}
		if c.Low32 {
			c.Value &= 0xffffffff
		}
		if c.Op == MaskedEqual {
			c.Mask = g.value()
			if c.Low32 {
				c.Mask &= 0xffffffff
			}
			c.Value &= c.Mask
		}
		if c.validate() == nil {
			g.values = append(g.values, c.Value)
			return c
		}
	}
}

func (g *intricate) profile() Profile {
	p := Profile{Name: "intricate", Default: g.action(), Unknown: g.action(), BadArch: g.action()}
	calls := make([]string, 1+g.IntN(6))
	for i := range calls {
		calls[i] = g.call()
	}
	for range 1 + g.IntN(10) {
		rule := Rule{Action: g.action(), Syscalls: []string{calls[g.IntN(len(calls))], calls[g.IntN(len(calls))]}}
		for range min(g.IntN(4), g.IntN(4)) {
			rule.Args = append(rule.Args, g.condition())
		}
		p.Groups = append(p.Groups, Group{Name: "g", Rules: []Rule{rule}})
	}
	return p
}

// data is an input near to what the profile judges.
func (g *intricate) data() Data {
	a := g.archs[g.IntN(len(g.archs))]
	d := Data{NR: g.nrs[g.IntN(len(g.nrs))], Arch: a.Audit}
	switch g.IntN(16) {
	case 0:
		d.Arch = Archs()[g.IntN(len(Archs()))].Audit
	case 1:
		d.NR ^= x32Bit
	case 2:
		d.NR = int32(g.Uint32())
	case 3:
		d.NR = -1
	case 4:
		d.NR = a.bit + g.Int32N(a.Last()&^a.bit+40)
	}
	for i := range d.Args {
		d.Args[i] = g.value()
	}
	if g.IntN(2) == 0 { // what socketcall and ipc do with it
		d.Args[0] = uint64(g.IntN(26))
	}
	return d
}

// program is a random one that the kernel would load.
func (g *intricate) program() []unix.SockFilter {
	codes := []uint16{
		unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_LD | unix.BPF_W | unix.BPF_ABS,
		unix.BPF_LD | unix.BPF_W | unix.BPF_LEN, unix.BPF_LDX | unix.BPF_W | unix.BPF_LEN, unix.BPF_LD | unix.BPF_IMM, unix.BPF_LDX | unix.BPF_IMM,
		unix.BPF_LD | unix.BPF_MEM, unix.BPF_LDX | unix.BPF_MEM, unix.BPF_ST, unix.BPF_STX, unix.BPF_MISC | unix.BPF_TAX, unix.BPF_MISC | unix.BPF_TXA,
		unix.BPF_JMP | unix.BPF_JA, unix.BPF_ALU | unix.BPF_NEG, unix.BPF_RET | unix.BPF_K, unix.BPF_RET | unix.BPF_A,
	}
	for _, op := range []uint16{unix.BPF_JEQ, unix.BPF_JGT, unix.BPF_JGE, unix.BPF_JSET} {
		codes = append(codes, unix.BPF_JMP|op, unix.BPF_JMP|op, unix.BPF_JMP|op|unix.BPF_X)
	}
	for _, op := range []uint16{unix.BPF_AND, unix.BPF_OR, unix.BPF_XOR, unix.BPF_ADD, unix.BPF_SUB, unix.BPF_LSH, unix.BPF_RSH} {
		codes = append(codes, unix.BPF_ALU|op, unix.BPF_ALU|op|unix.BPF_X)
	}
	for {
		prog := make([]unix.SockFilter, 4+g.IntN(30))
		for i := range prog {
			in := unix.SockFilter{Code: codes[g.IntN(len(codes))], K: uint32(g.value())}
			behind := max(1, len(prog)-i-1)
			in.Jt, in.Jf = uint8(g.IntN(behind)), uint8(g.IntN(behind))
			switch in.Code {
			case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
				in.K = 4 * g.Uint32N(16)
			case unix.BPF_LD | unix.BPF_MEM, unix.BPF_LDX | unix.BPF_MEM, unix.BPF_ST, unix.BPF_STX:
				in.K = g.Uint32N(2)
			case unix.BPF_JMP | unix.BPF_JA:
				in.K = g.Uint32N(uint32(behind))
			case unix.BPF_ALU | unix.BPF_LSH, unix.BPF_ALU | unix.BPF_RSH:
				in.K %= 32
			}
			prog[i] = in
		}
		if loadable(prog) == nil {
			return prog
		}
	}
}
