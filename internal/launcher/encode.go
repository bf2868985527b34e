package launcher

import (
	"encoding/binary"
	"fmt"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// encode writes slots, operations and data.
func (a *assembler) encode() error {
	im := &a.image
	im.ELF = make([]byte, a.total)
	if err := a.mark(); err != nil {
		return err
	}
	onFatal, ok := a.marked(a.prog.OnFatal)
	if !ok {
		return fmt.Errorf("launcher image: no operation reports fatal errors (a defect of Cloche: please report it)")
	}
	im.entry = int(a.index[0])
	slot := func(v plan.Var, n uint64) {
		binary.LittleEndian.PutUint64(im.ELF[offsetSlots+8*int(v):], n)
	}
	slot(plan.VarOps, BaseRO+uint64(a.opsAt))
	slot(plan.VarEntry, BaseRO+uint64(a.opsAt+im.entry*opSize))
	slot(plan.VarOnFatal, uint64(onFatal))

	refs := a.refs
	for i := range a.prog.Ops {
		var err error
		if refs, err = a.encodeOp(i, refs); err != nil {
			return err
		}
	}
	relocs := a.relocs
	for _, p := range a.placed {
		if zeroed(p.data) {
			continue
		}
		copy(im.ELF[p.at:], p.data.Bytes)
		copy(im.ELF[p.at:], p.data.CString)
		for j := range p.data.Relocs {
			r := &p.data.Relocs[j]
			binary.LittleEndian.PutUint64(im.ELF[p.at+r.Off:], a.address(relocs[0])+uint64(r.Add))
			relocs = relocs[1:]
		}
	}
	return nil
}

// address is where a placed Data lies in the running image.
func (a *assembler) address(i int32) uint64 {
	p := a.placed[i]
	if p.data.Section == plan.SetupRW || p.data.Section == plan.ResidentRW {
		return BaseRW + uint64(p.at)
	}
	return BaseRO + uint64(p.at)
}

// mark notes where the labels are.
func (a *assembler) mark() error {
	ops := a.prog.Ops
	last := plan.Label(0)
	for i := range ops {
		if ops[i].Mark < 0 {
			return defect(&ops[i], "is marked with a label below zero")
		}
		last = max(last, ops[i].Mark)
	}
	a.labels = make([]uint16, int(last)+1)
	for i := range a.labels {
		a.labels[i] = opFatal
	}
	for i := range ops {
		m := ops[i].Mark
		if m == 0 {
			continue
		}
		if a.labels[m] != opFatal {
			return defect(&ops[i], fmt.Sprintf("is marked with label %d, and another operation too", m))
		}
		a.labels[m] = a.index[i]
	}
	return nil
}

// marked is the index in the image of the operation that l marks.
func (a *assembler) marked(l plan.Label) (uint16, bool) {
	if l <= 0 || int(l) >= len(a.labels) || a.labels[l] == opFatal {
		return 0, false
	}
	return a.labels[l], true
}

// target is the index in the image of the operation that the i-th goes on to.
func (a *assembler) target(i int, l plan.Label) (uint16, error) {
	if l == plan.Next || l == plan.Following {
		if i+1 >= len(a.index) {
			return 0, defect(&a.prog.Ops[i], "is the last and goes on to nothing")
		}
		return a.index[i+1], nil
	}
	at, ok := a.marked(l)
	if !ok {
		return 0, defect(&a.prog.Ops[i], fmt.Sprintf("goes to label %d, which marks nothing", l))
	}
	return at, nil
}

// encodeOp writes the i-th operation. refs begins with the places of its data
// arguments; what is left of it is returned.
func (a *assembler) encodeOp(i int, refs []int32) ([]int32, error) {
	op := &a.prog.Ops[i]
	b := a.image.ELF[a.opsAt+int(a.index[i])*opSize:][:opSize]
	le := binary.LittleEndian

	switch {
	case op.Call > lastCall:
		return nil, defect(op, "is unknown to the interpreter")
	case len(op.Args) > opMaxArgs:
		return nil, defect(op, "has more than six arguments")
	case op.Dst >= plan.MaxVars:
		return nil, defect(op, "leaves its result outside of the slots")
	case op.Errno > errnoLimit:
		return nil, defect(op, "waits for an errno that there is not")
	}
	nr := opPseudo | op.Call.PseudoNumber()
	if !op.Call.IsPseudo() {
		n, ok := op.Call.Number(a.prog.GOARCH)
		if !ok || n >= opPseudo {
			return nil, defect(op, "has no number on "+a.prog.GOARCH)
		}
		nr = n
	}
	le.PutUint16(b, nr)
	b[3] = byte(op.Dst)
	le.PutUint32(b[12:], uint32(op.Step))
	if err := a.encodeJumps(i, b); err != nil {
		return nil, err
	}

	for n := range op.Args {
		arg := &op.Args[n]
		value := arg.Value()
		if v, ok := arg.IsVar(); ok {
			if v >= plan.MaxVars {
				return nil, defect(op, "reads outside of the slots")
			}
			b[2] |= 1 << n
			value = uint64(v)
		}
		if _, off, ok := arg.IsData(); ok {
			value = a.address(refs[0]) + uint64(off)
			refs = refs[1:]
		}
		if r, ok := arg.IsRegion(); ok {
			value = a.image.region(r)
		}
		if l, ok := arg.IsTarget(); ok {
			at, err := a.target(i, l)
			if err != nil {
				return nil, err
			}
			value = uint64(at)
		}
		le.PutUint64(b[opArgsAt+8*n:], value)
	}
	return refs, nil
}

// encodeJumps writes where the i-th operation goes on.
func (a *assembler) encodeJumps(i int, b []byte) error {
	op := &a.prog.Ops[i]
	onOK, onErr, onErrno, err := uint16(opFatal), uint16(opFatal), uint16(0), error(nil)
	if op.Call != plan.SysExitGroup { // it goes on to nothing
		if onOK, err = a.target(i, op.OnOK); err != nil {
			return err
		}
	}
	switch {
	case op.IgnoreErr:
		onErr = onOK
	case op.OnErr != plan.Next:
		if onErr, err = a.target(i, op.OnErr); err != nil {
			return err
		}
	}
	if op.Errno != 0 {
		if onErrno, err = a.target(i, op.OnErrno); err != nil {
			return err
		}
	}
	le := binary.LittleEndian
	le.PutUint16(b[4:], op.Errno)
	le.PutUint16(b[6:], onErrno)
	le.PutUint16(b[8:], onErr)
	le.PutUint16(b[10:], onOK)
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
	case plan.ImageAddress:
		return BaseRO
	case plan.ImageLength:
		return uint64(len(im.ELF))
	default: // SetupRWLength
		return uint64(im.rwSize - im.setupRW)
	}
}
