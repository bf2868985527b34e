package launcher

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// parsed is what the bytes of an image say to kernel and interpreter.
type parsed struct {
	elf     []byte
	goarch  string
	ops     []operation
	entry   int
	onFatal int
	opsAt   int
	textAt  int
	rwFile  int
	rwSize  int
	names   *Names // nil: the file has none
	measures
}

// operation is one operation in its binary form, see layout.go.
type operation struct {
	number  uint16
	slots   uint8
	dst     uint8
	errno   uint16
	onErrno uint16
	onErr   uint16
	onOK    uint16
	step    uint32
	args    [opMaxArgs]uint64
}

// padding reports whether op i only fills the room up to a page boundary.
func (p *parsed) padding(i int) bool {
	return i >= p.resident && i < (p.setupRO-p.opsAt)/opSize
}

// A file that is no image, or one that Assemble can't have made.
var errNotImage = errors.New("not a launcher image: give a file that `cloche build` wrote")

// ErrImageVersion tells that a file is an image, of another version of Cloche.
var ErrImageVersion = errors.New("launcher image: made by a version of Cloche that this one can't read: use the version that built it, or build it again")

func damaged(what string) error {
	return fmt.Errorf("launcher image: %s, which Cloche never writes: the file was damaged or made by something else; build it again", what)
}

// parse reads an image. It believes nothing: the file may be hostile. What it
// accepts means to kernel and interpreter what the result says. For that the
// header must be, byte for byte, the one that writeHeader makes.
func parse(elf []byte) (*parsed, error) {
	p := &parsed{elf: elf}
	if len(elf) < offsetData || len(elf) > maxImage || string(elf[:4]) != "\x7fELF" ||
		string(elf[offsetMagic:offsetMagic+len(magic)-1]) != magic[:len(magic)-1] {
		return nil, errNotImage
	}
	if elf[offsetMagic+len(magic)-1] != magic[len(magic)-1] {
		return nil, ErrImageVersion
	}
	le := binary.LittleEndian
	// The first segment is the whole image; only names may follow it in the file.
	if size, ok := within(le.Uint64(elf[elfHeaderSize+32:]), len(elf)); ok && size >= offsetData && size < len(elf) {
		var err error
		if p.names, err = parseNames(elf[size:]); err != nil {
			return nil, err
		}
		elf = elf[:size]
		p.elf = elf
	}
	machine := le.Uint16(elf[18:])
	switch machine {
	case emX8664:
		p.goarch = "amd64"
	case emAarch64:
		p.goarch = "arm64"
	default:
		return nil, damaged("it is for an unknown architecture")
	}
	measure := func(i int) int { return int(le.Uint32(elf[offsetMeasures+4*i:])) }
	p.measures = measures{ops: measure(0), resident: measure(1), setupRO: measure(2), setupRW: measure(3), textLen: measure(4)}
	slot := func(v plan.Var) uint64 { return le.Uint64(elf[offsetSlots+8*int(v):]) }
	rw := elf[elfHeaderSize+progHeaderSize:]
	var ok [4]bool
	p.textAt, ok[0] = within(le.Uint64(elf[24:])-BaseRO, len(elf))
	p.opsAt, ok[1] = within(slot(plan.VarOps)-BaseRO, len(elf))
	p.rwFile, ok[2] = within(le.Uint64(rw[32:]), len(elf))
	p.rwSize, ok[3] = within(le.Uint64(rw[40:]), maxImage)
	if ok != [4]bool{true, true, true, true} {
		return nil, damaged("its parts lie outside of the file")
	}
	var header [offsetSlots]byte
	writeHeader(header[:], machine, len(elf), p.textAt, p.rwFile, p.rwSize, p.measures)
	if !bytes.Equal(header[:], elf[:offsetSlots]) {
		return nil, damaged("its header has unknown parts")
	}
	if p.rwFile < offsetData || p.textAt < p.rwFile || p.textLen > p.opsAt-p.textAt || p.rwSize < p.rwFile ||
		p.setupRW < p.rwFile || p.setupRW > p.rwSize || p.setupRW%pageSize != 0 ||
		p.measures.ops > maxOps || p.opsAt%opSize != 0 || p.opsAt+p.measures.ops*opSize > len(elf) ||
		p.resident > p.measures.ops || p.setupRO != align(p.opsAt+p.resident*opSize, pageSize) ||
		p.opsAt+p.measures.ops*opSize < p.setupRO {
		return nil, damaged("its parts overlap")
	}
	return p, p.parseOps(slot(plan.VarEntry), slot(plan.VarOnFatal))
}

// within is n as an int when it is at most limit.
func within(n uint64, limit int) (int, bool) { return int(n), n <= uint64(limit) }

// parseOps decodes the operations and follows their jumps.
func (p *parsed) parseOps(entry, onFatal uint64) error {
	p.ops = make([]operation, p.measures.ops)
	real := func(i uint64) bool { return i < uint64(len(p.ops)) && !p.padding(int(i)) }

	entry -= BaseRO + uint64(p.opsAt)
	if entry%opSize != 0 || !real(entry/opSize) || !real(onFatal) {
		return damaged("it begins nowhere")
	}
	p.entry, p.onFatal = int(entry/opSize), int(onFatal)
	exit, _ := plan.SysExitGroup.Number(p.goarch)
	for i := range p.ops {
		b := p.elf[p.opsAt+i*opSize:][:opSize]
		if p.padding(i) {
			if !bytes.Equal(b, make([]byte, opSize)) {
				return damaged("something is hidden between its operations")
			}
			continue
		}
		o := &p.ops[i]
		o.decode(b)
		if o.number >= opPseudo && o.number-opPseudo > lastCall.PseudoNumber() ||
			o.slots >= 1<<opMaxArgs || o.dst >= plan.MaxVars || binary.LittleEndian.Uint32(b[12:]) > maxOps {
			return damaged(fmt.Sprintf("its operation %d has an unknown form", i))
		}
		for n, v := range o.args {
			if o.slots&(1<<n) != 0 && v >= plan.MaxVars {
				return damaged(fmt.Sprintf("its operation %d reads outside of the slots", i))
			}
		}
		if !real(uint64(o.onOK)) && (o.onOK != opFatal || o.number != exit) ||
			!real(uint64(o.onErr)) && o.onErr != opFatal ||
			!real(uint64(o.onErrno)) && o.errno != 0 {
			return damaged(fmt.Sprintf("its operation %d goes nowhere", i))
		}
	}
	return nil
}

func (o *operation) decode(b []byte) {
	le := binary.LittleEndian
	o.number, o.slots, o.dst = le.Uint16(b), b[2], b[3]
	o.step = le.Uint32(b[12:])
	o.errno, o.onErrno, o.onErr, o.onOK = le.Uint16(b[4:]), le.Uint16(b[6:]), le.Uint16(b[8:]), le.Uint16(b[10:])
	for n := range o.args {
		o.args[n] = le.Uint64(b[opArgsAt+8*n:])
	}
}

// call is the operation's Call; false: a system call that no plan makes.
func (p *parsed) call(o *operation) (plan.Call, bool) {
	if o.number >= opPseudo {
		return plan.Branch + plan.Call(o.number-opPseudo), true
	}
	for c := plan.Call(0); !c.IsPseudo(); c++ {
		if n, ok := c.Number(p.goarch); ok && n == o.number {
			return c, true
		}
	}
	return 0, false
}

// genuine reports whether the image's interpreter is the one of this program:
// only then do its operations say all that it does.
func (p *parsed) genuine() bool {
	if p.goarch != runtime.GOARCH {
		return false
	}
	text, err := interpreterText()
	return err == nil && bytes.Equal(p.elf[p.textAt:p.textAt+p.textLen], text)
}
