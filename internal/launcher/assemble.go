package launcher

import (
	"fmt"
	"runtime"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Program is what Assemble needs of a plan: operations in order, the first to
// begin with, and the label of the one that reports a fatal error.
type Program struct {
	GOARCH  string
	Ops     []plan.Op
	OnFatal plan.Label
	Vars    int // slots in use, the fixed ones included
}

// Assemble makes the image of p for the architecture this program runs on,
// which p.GOARCH must be. It fails when p asks for more than an image holds, or
// contradicts itself. It reads p's data and keeps none of it.
func Assemble(p Program) (*Image, error) {
	if p.GOARCH != runtime.GOARCH {
		return nil, fmt.Errorf("launcher image: asked for one of %s by a program for %s, whose interpreter is another: run the cloche of that architecture", p.GOARCH, runtime.GOARCH)
	}
	text, err := interpreterText()
	if err != nil {
		return nil, err
	}
	return assemble(p, text)
}

// AssembleFor makes the image of p for p.GOARCH without an interpreter in it:
// for `cloche plan` and the simulator, which need only table and data.
func AssembleFor(p Program) (*Image, error) { return assemble(p, nil) }

func assemble(p Program, text []byte) (*Image, error) {
	machine, ok := elfMachine(p.GOARCH)
	if !ok {
		return nil, fmt.Errorf("launcher image: there is no interpreter for %q: use amd64 or arm64", p.GOARCH)
	}
	if p.Vars > plan.MaxVars {
		return nil, fmt.Errorf("launcher image: %d values are live at once and it has room for %d: ask for fewer mounts or limits", p.Vars, plan.MaxVars)
	}
	if len(p.Ops) > maxOps {
		return nil, tooManyOps(len(p.Ops))
	}
	a := &assembler{prog: p}
	if err := a.collect(); err != nil {
		return nil, err
	}
	if err := a.place(len(text)); err != nil {
		return nil, err
	}
	if err := a.encode(); err != nil {
		return nil, err
	}
	im := &a.image
	copy(im.ELF[im.textAt:], text)
	writeHeader(im.ELF, machine, len(im.ELF), im.textAt, im.rwFile, im.rwSize, measures{
		ops: len(im.Ops), resident: a.resident, setupRO: im.setupRO, setupRW: im.setupRW, textLen: im.textLen,
	})
	return im, nil
}

// defect is an error that no policy can cause.
func defect(op *plan.Op, what string) error {
	name := fmt.Sprintf("operation number %d", op.Call)
	if op.Call <= lastCall {
		name = op.Call.Name()
	}
	return fmt.Errorf("launcher image: %s %s (a defect of Cloche: please report it)", name, what)
}

func tooManyOps(n int) error {
	return fmt.Errorf("launcher image: the policy needs %d operations and an image holds %d: ask for fewer mounts (a directory that holds them all is one mount)", n, maxOps)
}

// lastCall is the last pseudo-operation that the interpreters carry out.
const lastCall = plan.Enter

type assembler struct {
	image    Image
	prog     Program
	placed   []placed // every Data once, in order of first use
	refs     []int32  // places in placed: for each argument that is Data, in order
	relocs   []int32  // and for each Reloc, in order of placed
	index    []uint16 // plan operation → index in the image
	labels   []uint16 // by Label: index in the image, or opFatal
	resident int      // resident operations
	opsAt    int
	total    int
}

// placed is a Data and where it lies: an offset from the base of its mapping,
// which is an offset in the file too unless it is zeroed.
type placed struct {
	data *plan.Data
	at   int
}

// zeroed reports whether d needs no bytes in the file.
func zeroed(d *plan.Data) bool { return d.Bytes == nil && d.CString == "" && len(d.Relocs) == 0 }

// collect finds the data that the operations reach.
func (a *assembler) collect() error {
	ops := a.prog.Ops
	a.placed = make([]placed, 0, len(ops))
	a.refs = make([]int32, 0, 2*len(ops))
	seen := make(map[*plan.Data]int32, len(ops))
	find := func(d *plan.Data) int32 {
		at, ok := seen[d]
		if !ok {
			at = int32(len(a.placed))
			seen[d] = at
			a.placed = append(a.placed, placed{data: d})
		}
		return at
	}
	done := 0
	for i := range ops {
		op := &ops[i]
		for j := range op.Args {
			d, off, ok := op.Args[j].IsData()
			if !ok {
				continue
			}
			if d == nil || int(off) > d.Len() {
				return defect(op, "points outside of its data")
			}
			a.refs = append(a.refs, find(d))
		}
		for ; done < len(a.placed); done++ {
			d := a.placed[done].data
			if what := malformed(d); what != "" {
				return defect(op, what)
			}
			for j := range d.Relocs {
				a.relocs = append(a.relocs, find(d.Relocs[j].To))
			}
		}
	}
	return nil
}

// malformed says what no assembler could do with d; empty: nothing.
func malformed(d *plan.Data) string {
	switch {
	case d.Section > plan.ResidentRW:
		return "has data in no section"
	case d.Align&(d.Align-1) != 0 || d.Align > segmentAlign:
		return "has data of an impossible alignment"
	}
	for i := range d.Relocs {
		r := &d.Relocs[i]
		if r.To == nil || r.Off < 0 || r.Off > d.Len()-8 {
			return "has an address that lies outside of its data"
		}
	}
	return ""
}

func align(n, to int) int { return (n + to - 1) &^ (to - 1) }

// place gives every operation its index and every Data its address.
func (a *assembler) place(textLen int) error {
	im := &a.image
	put := func(at int, s plan.Section, zero bool) int {
		for i := range a.placed {
			d := a.placed[i].data
			if d.Section != s || zeroed(d) != zero {
				continue
			}
			at = align(at, max(int(d.Align), 1))
			a.placed[i].at = at
			// No sum overflows: one byte too many is as bad as all of them.
			at = min(at+min(d.Len(), maxImage), maxImage+1)
		}
		return at
	}
	at := put(offsetData, plan.ResidentRW, false)
	at = put(at, plan.SetupRW, false)
	im.rwFile = at
	// Zeroed data takes no room in the file. Set-up's begins on a page of its
	// own, so that it can be given back.
	im.setupRW = align(put(at, plan.ResidentRW, true), pageSize)
	im.rwSize = put(im.setupRW, plan.SetupRW, true)

	im.textAt, im.textLen = align(at, 16), textLen
	at = put(im.textAt+textLen, plan.ResidentRO, false)
	at = put(at, plan.ResidentRO, true)
	a.opsAt = align(at, opSize)

	ops := a.prog.Ops
	a.index = make([]uint16, len(ops))
	for i := range ops {
		if ops[i].Resident {
			a.index[i] = uint16(a.resident)
			a.resident++
		}
	}
	im.setupRO = align(a.opsAt+a.resident*opSize, pageSize)
	n := (im.setupRO - a.opsAt) / opSize
	if n+len(ops)-a.resident > maxOps {
		return tooManyOps(n + len(ops) - a.resident)
	}
	im.Ops = make([]int, n+len(ops)-a.resident)
	for i := range im.Ops {
		im.Ops[i] = -1
	}
	for i := range ops {
		if !ops[i].Resident {
			a.index[i] = uint16(n)
			n++
		}
		im.Ops[a.index[i]] = i
	}
	at = put(a.opsAt+n*opSize, plan.SetupRO, false)
	a.total = put(at, plan.SetupRO, true)
	if size := max(a.total, im.rwSize); size > maxImage {
		return fmt.Errorf("launcher image: the policy's data needs more than the %d bytes that an image holds: put large files on disk and bind them instead of giving their data", maxImage)
	}
	return nil
}
