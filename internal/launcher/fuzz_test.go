package launcher

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"runtime"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// fuzzReader makes numbers of fuzz bytes, and zeroes when they are used up.
type fuzzReader struct{ b []byte }

func (f *fuzzReader) byte() byte {
	if len(f.b) == 0 {
		return 0
	}
	c := f.b[0]
	f.b = f.b[1:]
	return c
}

func (f *fuzzReader) n(below int) int { return int(f.byte()) % below }

func (f *fuzzReader) uint64() uint64 {
	switch f.n(4) {
	case 0:
		return math.MaxUint64 - uint64(f.byte())
	case 1:
		var b [8]byte
		for i := range b {
			b[i] = f.byte()
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	return uint64(f.byte())
}

// fuzzData makes a few Data that may point at each other.
func (f *fuzzReader) data(wild bool) []*plan.Data {
	list := make([]*plan.Data, 1+f.n(6))
	for i := range list {
		list[i] = &plan.Data{Section: plan.Section(f.n(4)), Size: 30 + f.n(200), Align: 1 << f.n(5)}
		if f.n(2) == 0 {
			for range f.n(20) {
				list[i].Bytes = append(list[i].Bytes, "0123456789ab\x00/: xyz\xff"[f.n(20)])
			}
		}
		if wild {
			list[i].Section = plan.Section(f.n(6))
			list[i].Align = uint32(int8(f.byte()))
			if f.n(8) == 0 {
				list[i].Size = int(f.uint64())
			}
		}
	}
	for _, d := range list {
		for range f.n(3) {
			r := plan.Reloc{To: list[f.n(len(list))], Off: f.n(24) * 8, Add: f.n(8)}
			if wild {
				r.Off = int(int8(f.byte()))
			} else if r.Off+8 > d.Len() {
				continue
			}
			d.Relocs = append(d.Relocs, r)
		}
	}
	return list
}

// addresses makes addresses of the arguments that should be some, mostly: else
// nearly every program would fault.
func (f *fuzzReader) addresses(o *plan.Op, data []*plan.Data) {
	n, writes := 0, false
	switch o.Call {
	case plan.Load, plan.Parse:
		n = 1
	case plan.Store, plan.Format:
		n, writes = 1, true
	case plan.Copy, plan.Compare:
		n, writes = 2, o.Call == plan.Copy
	}
	for i := range n {
		d := data[f.n(len(data))]
		if f.n(16) == 0 || writes && i == 0 && d.Section != plan.SetupRW && d.Section != plan.ResidentRW {
			if writes && i == 0 {
				o.Args[i] = plan.Num(SlotsAddress + 8*uint64(plan.FirstFreeVar+plan.Var(f.n(12))))
			}
			continue
		}
		o.Args[i] = plan.RefAt(d, f.n(d.Len()%256/2+1))
	}
	if o.Call == plan.Copy || o.Call == plan.Compare {
		last := 3
		if o.Call == plan.Compare {
			last = 2
		}
		o.Args[last] = plan.Num(uint64(f.n(30)))
	}
}

// fuzzProgram decodes a program. A tame one is made of pseudo-operations and
// harmless system calls alone, and its labels exist; a wild one may contain
// anything that the types allow.
func fuzzProgram(b []byte, wild bool) Program {
	f := &fuzzReader{b}
	data := f.data(wild)
	n := f.n(24)
	label := func() plan.Label {
		if wild {
			return plan.Label(int8(f.byte()))
		}
		if f.n(2) == 0 || n == 0 {
			return plan.Label(-f.n(2)) // Next or Following
		}
		return plan.Label(10 + f.n(n))
	}
	var ops []plan.Op
	for i := range n {
		o := plan.Op{
			Dst: plan.Var(f.n(20)), OnOK: label(), OnErr: label(), OnErrno: label(), Errno: uint16(f.n(40)),
			IgnoreErr: f.n(2) == 0, Mark: plan.Label(10 + i), Resident: f.n(3) == 0,
		}
		if c := f.n(11); c < 8 {
			o.Call = plan.Branch + plan.Call(c)
		} else {
			o.Call = [...]plan.Call{plan.SysGetuid, plan.SysUmask, plan.SysClose}[c-8]
		}
		nargs := 6
		if wild {
			o.Call, o.Dst, o.Mark = plan.Call(f.byte()), plan.Var(f.byte()), label()
			nargs = f.n(9)
		}
		for range nargs {
			// Not argv and envp: addresses on the stack differ from run to run.
			a := plan.Num(f.uint64())
			switch f.n(8) {
			case 0, 1:
				d := data[f.n(len(data))]
				a = plan.RefAt(d, f.n(d.Len()%256+1))
			case 2:
				a = plan.Slot(plan.FirstFreeVar + plan.Var(f.n(12)))
			case 3:
				a = plan.Num(SlotsAddress + uint64(f.byte())*8)
			case 4:
				a = plan.Target(label())
			case 5:
				a = plan.RegionArg(plan.Region(f.n(4)))
			}
			if wild && f.n(8) == 0 {
				a = plan.Slot(plan.Var(f.byte()))
			}
			o.Args = append(o.Args, a)
		}
		if !wild {
			f.addresses(&o, data)
			switch o.Call {
			case plan.SysUmask:
				o.Args = []plan.Arg{plan.Num(0o22)}
			case plan.SysClose:
				o.Args = []plan.Arg{plan.Num(1000)}
			}
		}
		ops = append(ops, o)
	}
	p := Program{GOARCH: runtime.GOARCH, Ops: append(ops, dump()...), OnFatal: fatal, Vars: 40}
	if wild {
		p.OnFatal = plan.Label(f.n(4))
		p.Vars = int(f.byte())
	}
	return p
}

// readsStack reports whether a run could see the stack's address, which differs.
func readsStack(p *Program) bool {
	const first, end = SlotsAddress + 8*uint64(plan.VarArgv), SlotsAddress + 8*uint64(plan.VarEnvp) + 8
	for i := range p.Ops {
		for _, a := range p.Ops[i].Args {
			if p.Ops[i].Call == plan.Load || p.Ops[i].Call == plan.Copy || p.Ops[i].Call == plan.Compare || p.Ops[i].Call == plan.Parse {
				if _, data, _ := a.IsData(); data != 0 {
					continue
				}
				if v := a.Value(); v+8 > first && v < end {
					return true
				}
				if _, ok := a.IsVar(); ok {
					return true
				}
			}
		}
	}
	return false
}

// randomBytes is always the same for a seed.
func randomBytes(seed uint32) []byte {
	b := make([]byte, 1200)
	x := (seed + 1) * 2654435761
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x >> 8)
	}
	return b
}

// TestRandomPrograms runs tame programs in both ways, on emulators too.
func TestRandomPrograms(t *testing.T) {
	executed, faulted := 0, 0
	for seed := range uint32(1500) {
		p := fuzzProgram(randomBytes(seed), false)
		im, err := Assemble(p)
		if err != nil {
			t.Fatal(err)
		}
		sim, err := simulated(t, im, 1000, "image")
		if err != nil {
			faulted++
			continue
		}
		if readsStack(&p) {
			continue
		}
		executed++
		if got := really(t, im, "image"); got != sim {
			l, _ := Inspect(im.ELF)
			t.Fatalf("seed %d: executed %q %d, simulated %q %d, slots equal: %v\n%s", seed, got.stdout, got.exit, sim.stdout, sim.exit, got.slots == sim.slots, l)
		}
	}
	t.Logf("%d programs executed, %d fault or loop in the simulator", executed, faulted)
	if executed < 100 {
		t.Errorf("only %d programs were executed", executed)
	}
}

// FuzzAssemble: whatever a program contains, Assemble returns an image or an
// error; what it returns is understood by Inspect and the simulator; and the
// simulator is right about tame programs.
func FuzzAssemble(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add([]byte{}, false)
	for seed := range uint32(12) {
		f.Add(randomBytes(seed), seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, wild bool) {
		p := fuzzProgram(b, wild)
		im, err := Assemble(p)
		if err != nil {
			if !wild {
				t.Fatal(err)
			}
			return
		}
		l, err := Inspect(im.ELF)
		if err != nil || !l.Genuine || len(l.Ops) != len(p.Ops) {
			t.Fatalf("Inspect: %v", err)
		}
		_ = l.String()
		if wild {
			if _, err := Simulate(im.ELF, &FakeKernel{}, SimulateOptions{Args: []string{"a"}, MaxSteps: 2000}); err != nil {
				var s *SimulationError
				if !errors.As(err, &s) {
					t.Fatal(err)
				}
			}
			return
		}
		sim, err := simulated(t, im, 1000, "image")
		if err != nil || readsStack(&p) || os.Getenv(qemuVariable) != "" {
			return // it faults or loops: only the real one can tell more
		}
		if got := really(t, im, "image"); got != sim {
			t.Errorf("executed and simulated differ:\n%+v\n%+v\n%s", got.exit, sim.exit, l)
		}
	})
}

// FuzzInspect: no file makes Inspect or Simulate panic.
func FuzzInspect(f *testing.F) {
	for _, n := range []int{0, 3, 100} {
		im, err := Assemble(typicalProgram(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(im.ELF, 0, uint64(0))
		f.Add(im.ELF, offsetMeasures, uint64(math.MaxUint64))
		f.Add(im.ELF, offsetSlots+8, uint64(BaseRO))
		f.Add(im.ELF[:len(im.ELF)/2], 32, uint64(1)<<63)
	}
	f.Fuzz(func(t *testing.T, file []byte, at int, value uint64) {
		// A mutation where it hurts, beside those of the fuzzer.
		if at > 0 && at+8 <= len(file) {
			file = append([]byte{}, file...)
			binary.LittleEndian.PutUint64(file[at:], value)
		}
		l, err := Inspect(file)
		if err != nil {
			if l != nil {
				t.Error("a listing beside an error")
			}
			return
		}
		_ = l.String()
		_, _ = Simulate(file, &FakeKernel{}, SimulateOptions{MaxSteps: 2000})
	})
}
