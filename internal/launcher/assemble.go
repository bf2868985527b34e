package launcher

import (
	"encoding/binary"
	"fmt"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Program is what Assemble needs of a plan: operations in order, the label of
// the one to begin with, and the label of the one that reports a fatal error.
type Program struct {
	GOARCH  string
	Ops     []plan.Op
	OnFatal plan.Label
	Vars    int // slots in use, the fixed ones included
}

// Assemble makes the image of p for the architecture this program runs on.
func Assemble(p Program) (*Image, error) {
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
	if p.Vars > plan.MaxVars {
		return nil, fmt.Errorf("launcher image: %d values are live at once and it has room for %d: ask for fewer mounts or limits", p.Vars, plan.MaxVars)
	}
	a := &assembler{
		image: Image{data: make(map[*plan.Data]uint64, len(p.Ops)/2)},
		prog:  p,
	}
	a.collect()
	if err := a.place(len(text)); err != nil {
		return nil, err
	}
	if err := a.encode(); err != nil {
		return nil, err
	}
	copy(a.image.ELF[a.textAt:], text)
	a.image.textLen = len(text)
	writeHeader(a.image.ELF, p.GOARCH, a.textAt, a.image.rwSize, a.rwFile)
	return &a.image, nil
}

type assembler struct {
	image    Image
	prog     Program
	sections [4][]*plan.Data
	index    []int // plan operation → index in the image

	rwFile  int // bytes of the file that BaseRW maps
	textAt  int
	opsAt   int
	setupAt int // page boundary: from here on unmapped after set-up
	total   int
}

// collect finds the data that the operations reach, in order of first use.
func (a *assembler) collect() {
	for i := range a.prog.Ops {
		for _, arg := range a.prog.Ops[i].Args {
			if d, _, ok := arg.IsData(); ok {
				a.reach(d)
			}
		}
	}
}

func (a *assembler) reach(d *plan.Data) {
	if _, ok := a.image.data[d]; ok {
		return
	}
	a.image.data[d] = 0
	a.sections[d.Section] = append(a.sections[d.Section], d)
	for _, r := range d.Relocs {
		a.reach(r.To)
	}
}

func align(n, to int) int { return (n + to - 1) &^ (to - 1) }

// place gives every operation its index and every Data its address.
func (a *assembler) place(textLen int) error {
	put := func(at int, base uint64, list []*plan.Data, zero bool) int {
		for _, d := range list {
			if (d.Bytes == nil && len(d.Relocs) == 0) != zero {
				continue
			}
			at = align(at, max(d.Align, 1))
			a.image.data[d] = base + uint64(at)
			at += d.Len()
		}
		return at
	}
	at := offsetSlots + 8*plan.MaxVars
	at = put(at, BaseRW, a.sections[plan.ResidentRW], false)
	at = put(at, BaseRW, a.sections[plan.SetupRW], false)
	a.rwFile = at
	// Zeroed data takes no room in the file. Set-up's own begins on a page of
	// its own, so that it can be given back.
	rw := put(at, BaseRW, a.sections[plan.ResidentRW], true)
	a.image.setupRW = align(rw, pageSize)
	a.image.rwSize = max(put(a.image.setupRW, BaseRW, a.sections[plan.SetupRW], true), rw)

	a.textAt = align(at, 16)
	at = a.textAt + textLen
	at = put(at, BaseRO, a.sections[plan.ResidentRO], false)
	at = put(at, BaseRO, a.sections[plan.ResidentRO], true)
	a.opsAt = align(at, opSize)

	ops := a.prog.Ops
	a.index = make([]int, len(ops))
	n := 0
	for i := range ops {
		if ops[i].Resident {
			a.index[i] = n
			n++
		}
	}
	a.setupAt = align(a.opsAt+n*opSize, pageSize)
	n = (a.setupAt - a.opsAt) / opSize
	for i := range ops {
		if !ops[i].Resident {
			a.index[i] = n
			n++
		}
	}
	if n > maxOps {
		return fmt.Errorf("launcher image: the policy needs %d operations and an image holds %d: ask for fewer mounts (a directory that holds them all is one mount)", n, maxOps)
	}
	a.image.Ops = make([]int, n)
	for i := range a.image.Ops {
		a.image.Ops[i] = -1
	}
	for i, at := range a.index {
		a.image.Ops[at] = i
	}
	at = put(a.opsAt+n*opSize, BaseRO, a.sections[plan.SetupRO], false)
	at = put(at, BaseRO, a.sections[plan.SetupRO], true)
	a.total = at
	a.image.setupRO = a.setupAt
	if at > maxImage || a.image.rwSize > maxImage {
		return fmt.Errorf("launcher image: the policy needs %d bytes and an image holds %d: put large files on disk and bind them instead of giving their data", max(at, a.image.rwSize), maxImage)
	}
	return nil
}

// encode writes slots, operations and data.
func (a *assembler) encode() error {
	elf := make([]byte, a.total)
	a.image.ELF = elf
	a.image.labels = make(map[plan.Label]int)
	for i := range a.prog.Ops {
		if m := a.prog.Ops[i].Mark; m != 0 {
			if _, dup := a.image.labels[m]; dup {
				return fmt.Errorf("launcher image: label %d marks two operations (a defect of Cloche)", m)
			}
			a.image.labels[m] = a.index[i]
		}
	}
	onFatal, ok := a.image.labels[a.prog.OnFatal]
	if !ok || len(a.index) == 0 {
		return fmt.Errorf("launcher image: no operation reports fatal errors (a defect of Cloche)")
	}
	a.image.entry = a.index[0]
	slot := func(v plan.Var, n uint64) { binary.LittleEndian.PutUint64(elf[offsetSlots+8*int(v):], n) }
	slot(plan.VarOps, BaseRO+uint64(a.opsAt))
	slot(plan.VarEntry, BaseRO+uint64(a.opsAt+a.image.entry*opSize))
	slot(plan.VarOnFatal, uint64(onFatal))

	for i := range a.prog.Ops {
		if err := a.encodeOp(i); err != nil {
			return err
		}
	}
	for s, list := range a.sections {
		base := uint64(BaseRO)
		if plan.Section(s) == plan.SetupRW || plan.Section(s) == plan.ResidentRW {
			base = BaseRW
		}
		for _, d := range list {
			if d.Bytes == nil && len(d.Relocs) == 0 {
				continue
			}
			at := a.image.data[d] - base
			copy(elf[at:], d.Bytes)
			for _, r := range d.Relocs {
				binary.LittleEndian.PutUint64(elf[int(at)+r.Off:], a.image.data[r.To]+uint64(r.Add))
			}
		}
	}
	return nil
}

func (a *assembler) encodeOp(i int) error {
	op := &a.prog.Ops[i]
	b := a.image.ELF[a.opsAt+a.index[i]*opSize:][:opSize]
	le := binary.LittleEndian

	nr := opPseudo | op.Call.PseudoNumber()
	if !op.Call.IsPseudo() {
		n, ok := op.Call.Number(a.prog.GOARCH)
		if !ok {
			return fmt.Errorf("launcher image: no system call %s on %s", op.Call.Name(), a.prog.GOARCH)
		}
		nr = n
	}
	le.PutUint16(b, nr)
	b[3] = byte(op.Dst)

	target := func(l plan.Label) (uint16, error) {
		if l == plan.Next {
			if i+1 >= len(a.index) {
				return 0, fmt.Errorf("launcher image: the last operation, %s, goes on to nothing (a defect of Cloche)", op.Call.Name())
			}
			return uint16(a.index[i+1]), nil
		}
		at, ok := a.image.labels[l]
		if !ok {
			return 0, fmt.Errorf("launcher image: %s goes to label %d, which marks nothing (a defect of Cloche)", op.Call.Name(), l)
		}
		return uint16(at), nil
	}
	onOK, err := uint16(opFatal), error(nil)
	if op.Call != plan.SysExitGroup {
		if onOK, err = target(op.OnOK); err != nil {
			return err
		}
	}
	onErr := uint16(opFatal)
	switch {
	case op.IgnoreErr:
		onErr = onOK
	case op.OnErr != plan.Next:
		if onErr, err = target(op.OnErr); err != nil {
			return err
		}
	}
	onErrno := uint16(0)
	if op.Errno != 0 {
		if onErrno, err = target(op.OnErrno); err != nil {
			return err
		}
	}
	le.PutUint16(b[4:], op.Errno)
	le.PutUint16(b[6:], onErrno)
	le.PutUint16(b[8:], onErr)
	le.PutUint16(b[10:], onOK)

	if len(op.Args) > opMaxArgs {
		return fmt.Errorf("launcher image: %s with %d arguments (a defect of Cloche)", op.Call.Name(), len(op.Args))
	}
	for n, arg := range op.Args {
		value := arg.Value()
		if v, ok := arg.IsVar(); ok {
			b[2] |= 1 << n
			value = uint64(v)
		}
		if d, off, ok := arg.IsData(); ok {
			value = a.image.data[d] + uint64(off)
		}
		if r, ok := arg.IsRegion(); ok {
			value = a.image.region(r)
		}
		if l, ok := arg.IsTarget(); ok {
			at, err := target(l)
			if err != nil {
				return err
			}
			value = uint64(at)
		}
		le.PutUint64(b[opArgsAt+8*n:], value)
	}
	return nil
}

// region is a number of the image's layout that operations ask for by name.
func (im *Image) region(r plan.Region) uint64 {
	switch r {
	case plan.SetupROAddress:
		return BaseRO + uint64(im.setupRO)
	case plan.SetupROLength:
		return uint64(len(im.ELF) - im.setupRO)
	case plan.SetupRWAddress:
		return BaseRW + uint64(im.setupRW)
	default:
		return uint64(im.rwSize - im.setupRW)
	}
}
