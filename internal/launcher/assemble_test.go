package launcher

import (
	"bytes"
	"debug/elf"
	"runtime"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

func TestAssembleErrors(t *testing.T) {
	program := func(ops ...plan.Op) Program {
		return Program{GOARCH: runtime.GOARCH, Ops: append(ops, dump()...), OnFatal: fatal, Vars: 20}
	}
	data := func(d *plan.Data) Program { return program(op(plan.SysClose, plan.Ref(d))) }
	with := func(f func(*plan.Op)) Program {
		o := op(plan.SysGetpid)
		f(&o)
		return program(o)
	}
	self := &plan.Data{Size: 8}
	tests := map[string]struct {
		p    Program
		want string
	}{
		"too many operations": {program(make([]plan.Op, maxOps)...), "ask for fewer mounts"},
		"too many slots":      {Program{GOARCH: runtime.GOARCH, Vars: plan.MaxVars + 1}, "ask for fewer mounts"},
		"other architecture":  {Program{GOARCH: "riscv64"}, "architecture"},
		"no operations":       {Program{GOARCH: runtime.GOARCH, OnFatal: fatal}, "no operation reports"},
		"no fatal handler":    {Program{GOARCH: runtime.GOARCH, Ops: []plan.Op{exit(num(1))}, OnFatal: 7}, "no operation reports"},
		"unknown label":       {with(func(o *plan.Op) { o.OnOK = 77 }), "label 77"},
		"unknown error label": {with(func(o *plan.Op) { o.OnErr = 77 }), "label 77"},
		"unknown errno label": {with(func(o *plan.Op) { o.Errno, o.OnErrno = 1, 77 }), "label 77"},
		"unknown target":      {with(func(o *plan.Op) { o.Args = []plan.Arg{plan.Target(77)} }), "label 77"},
		"label below zero":    {with(func(o *plan.Op) { o.OnOK = -2 }), "label -2"},
		"mark below zero":     {with(func(o *plan.Op) { o.Mark = -1 }), "below zero"},
		"label twice":         {with(func(o *plan.Op) { o.Mark = fatal }), "another operation too"},
		"unknown operation":   {with(func(o *plan.Op) { o.Call = 255 }), "unknown to the interpreter"},
		"seven arguments":     {with(func(o *plan.Op) { o.Args = make([]plan.Arg, 7) }), "six arguments"},
		"result slot":         {with(func(o *plan.Op) { o.Dst = plan.MaxVars }), "outside of the slots"},
		"argument slot":       {with(func(o *plan.Op) { o.Args = []plan.Arg{plan.Slot(200)} }), "outside of the slots"},
		"errno":               {with(func(o *plan.Op) { o.Errno = 4096 }), "errno"},
		"the last goes on":    {Program{GOARCH: runtime.GOARCH, Ops: append(dump(), op(plan.SysGetpid)), OnFatal: fatal}, "goes on to nothing"},
		"no data":             {program(op(plan.SysClose, plan.Ref(nil))), "outside of its data"},
		"after its data":      {program(op(plan.SysClose, plan.RefAt(self, 9))), "outside of its data"},
		"section":             {data(&plan.Data{Section: 4}), "no section"},
		"alignment":           {data(&plan.Data{Align: 12}), "alignment"},
		"large alignment":     {data(&plan.Data{Align: 1 << 20}), "alignment"},
		"reloc to nothing":    {data(&plan.Data{Size: 8, Relocs: []plan.Reloc{{}}}), "outside of its data"},
		"reloc too far":       {data(&plan.Data{Size: 8, Relocs: []plan.Reloc{{Off: 1, To: self}}}), "outside of its data"},
		"reloc before":        {data(&plan.Data{Size: 8, Relocs: []plan.Reloc{{Off: -1, To: self}}}), "outside of its data"},
		"reloc in a few":      {data(&plan.Data{Size: 7, Relocs: []plan.Reloc{{To: self}}}), "outside of its data"},
		"large data":          {data(&plan.Data{Bytes: make([]byte, maxImage)}), "put large files on disk"},
		"large zeroes":        {data(&plan.Data{Section: plan.SetupRW, Size: 1 << 62}), "put large files on disk"},
		"large, resident":     {data(&plan.Data{Section: plan.ResidentRW, Size: 1 << 62}), "put large files on disk"},
		"large, initialised":  {data(&plan.Data{Section: plan.ResidentRO, Size: 1 << 62, Bytes: []byte{1}}), "put large files on disk"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			im, err := Assemble(test.p)
			if err == nil || !strings.Contains(err.Error(), test.want) || im != nil {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := AssembleFor(Program{GOARCH: "riscv64", Ops: dump(), OnFatal: fatal}); err == nil {
		t.Error("an image for riscv64")
	}
}

// TestBothArchitectures simulates the table of either architecture.
func TestBothArchitectures(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		p := typicalProgram(300)
		p.GOARCH = arch
		im, err := AssembleFor(p)
		if err != nil {
			t.Fatal(err)
		}
		k := &FakeKernel{}
		end, err := Simulate(im.ELF, k, SimulateOptions{})
		if err != nil || end.Status != 1 || len(k.Trace) != 301 {
			t.Errorf("%s: %v, %d calls", arch, err, len(k.Trace))
		}
		if l, err := Inspect(im.ELF); err != nil || l.GOARCH != arch || len(l.Ops) != 301 || l.Genuine {
			t.Errorf("%s: %v, %+v", arch, err, l)
		}
	}
}

// TestOps: the index that a failing image reports leads back to the plan.
func TestOps(t *testing.T) {
	p := typicalProgram(200)
	im, err := Assemble(p)
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]int, len(p.Ops))
	image, err := parse(im.ELF)
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range im.Ops {
		if (at == -1) != image.padding(i) {
			t.Errorf("operation %d: %d", i, at)
		}
		if at >= 0 {
			seen[at]++
			if c, _ := image.call(&image.ops[i]); c != p.Ops[at].Call {
				t.Errorf("operation %d is %s, not %s", i, c.Name(), p.Ops[at].Call.Name())
			}
		}
	}
	for i, n := range seen {
		if n != 1 {
			t.Errorf("plan operation %d is there %d times", i, n)
		}
	}
}

// TestELF reads an image with a reader that is not ours, and checks what a
// kernel with pages of 64 KiB demands.
func TestELF(t *testing.T) {
	im := assembled(t, dump(op(plan.Load, plan.Ref(&plan.Data{Section: plan.SetupRW, Size: 100}), num(8))))
	f, err := elf.NewFile(bytes.NewReader(im.ELF))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_EXEC || len(f.Progs) != 3 {
		t.Errorf("%+v", f.FileHeader)
	}
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			if p.Vaddr%0x10000 != p.Off%0x10000 || p.Align < 0x10000 {
				t.Errorf("misaligned for large pages: %+v", p.ProgHeader)
			}
			if p.Flags&elf.PF_W != 0 && p.Flags&elf.PF_X != 0 {
				t.Error("writable and executable")
			}
		case elf.PT_GNU_STACK:
			if p.Flags&elf.PF_X != 0 {
				t.Error("the stack is executable")
			}
		}
	}
	if a, b := f.Progs[0], f.Progs[1]; a.Vaddr+maxImage > b.Vaddr || f.Entry < a.Vaddr || f.Entry >= a.Vaddr+a.Filesz {
		t.Errorf("mappings overlap, or entry is outside: %+v %+v %#x", a.ProgHeader, b.ProgHeader, f.Entry)
	}
}

// TestDeterministic: Assemble neither keeps nor changes what it was given, and makes the
// same bytes of it again.
func TestDeterministic(t *testing.T) {
	p := typicalProgram(250)
	a, err := Assemble(p)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.Clone(a.ELF)
	b, err := Assemble(p)
	if err != nil || !bytes.Equal(first, b.ELF) {
		t.Errorf("not the same again: %v", err)
	}
	clear(b.ELF)
	if !bytes.Equal(first, a.ELF) {
		t.Error("two images share memory")
	}
}
