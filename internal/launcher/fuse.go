package launcher

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Executable is where an executable is mapped and begins.
type Executable struct {
	Entry, Start, End uint64
}

// errNotGo is an executable that no image can stand in front of.
var errNotGo = errors.New("launcher image: not a static ELF executable for 64 bits, as `go build` makes without cgo")

// ReadExecutable finds out what a prelude must know of the program behind it.
func ReadExecutable(elf []byte) (x Executable, err error) {
	x, err = readExecutable(elf)
	if err == nil && x.End > BaseRO {
		err = fmt.Errorf("launcher image: the program is mapped from %#x to %#x, where there is no room for an image at %#x", x.Start, x.End, BaseRO)
	}
	return x, err
}

// BaseBeside is where the memory of a second program begins, behind that of the image: what
// `go build -ldflags "-T 0x20011000"` makes.
const BaseBeside = 0x20010000

// BaseArgv is where a second image lies, see Fuse: behind any program that ReadBeside takes.
const BaseArgv = 0x30000000

// ReadBeside is ReadExecutable of a second program.
func ReadBeside(elf []byte) (x Executable, err error) {
	x, err = readExecutable(elf)
	if err == nil && x.End > BaseArgv {
		err = fmt.Errorf("launcher image: the second program is mapped up to %#x, where there is no room for an image at %#x", x.End, BaseArgv)
	}
	if err == nil && x.Start != BaseBeside {
		err = fmt.Errorf("launcher image: the second program is mapped from %#x on and not %#x: build it with -ldflags '-T %#x'", x.Start, BaseBeside, BaseBeside+0x1000)
	}
	return x, err
}

func readExecutable(elf []byte) (x Executable, err error) {
	f, err := programHeaders(elf)
	if err != nil {
		return x, err
	}
	x.Entry, x.Start = binary.LittleEndian.Uint64(elf[24:]), ^uint64(0)
	for i := range f.count {
		h := f.header(i)
		if binary.LittleEndian.Uint32(h) != ptLoad {
			continue
		}
		addr, size := binary.LittleEndian.Uint64(h[16:]), binary.LittleEndian.Uint64(h[40:])
		x.Start, x.End = min(x.Start, addr&^(pageSize-1)), max(x.End, addr+size)
	}
	x.End = (x.End + pageSize - 1) &^ (pageSize - 1)
	if x.Entry < x.Start || x.Entry >= x.End {
		return x, errNotGo
	}
	return x, nil
}

// programTable is an ELF file's program headers.
type programTable struct {
	elf       []byte
	at, count int
}

func (f *programTable) header(i int) []byte {
	return f.elf[f.at+i*progHeaderSize:][:progHeaderSize]
}

func programHeaders(elf []byte) (*programTable, error) {
	le := binary.LittleEndian
	if len(elf) < elfHeaderSize || string(elf[:6]) != "\x7fELF\x02\x01" || le.Uint16(elf[16:]) != etExec || le.Uint16(elf[54:]) != progHeaderSize {
		return nil, errNotGo
	}
	at, ok := within(le.Uint64(elf[32:]), len(elf))
	f := &programTable{elf: elf, at: at, count: int(le.Uint16(elf[56:]))}
	if !ok || f.count == 0 || f.at+f.count*progHeaderSize > len(elf) {
		return nil, errNotGo
	}
	return f, nil
}

// Fuse puts an image in front of a program: the kernel maps both, and enters the
// image, which may leave for the program by plan.Enter. file begins with the image,
// and may hold its names after it. What the image is made of stays where Inspect
// finds it. The program is one that ReadExecutable takes. Beside it there may be a
// second one, which ReadBeside takes and which the image may enter as well, and a second image, argv,
// which lies at BaseArgv for the first to execute from a memory file.
func Fuse(program, beside, argv, file []byte) ([]byte, error) {
	f, err := programHeaders(program)
	if err != nil {
		return nil, err
	}
	im, err := parse(file)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint16(program[18:]) != le.Uint16(file[18:]) || beside != nil && le.Uint16(program[18:]) != le.Uint16(beside[18:]) {
		return nil, errors.New("launcher image: program and image are for different architectures")
	}
	if _, ok := embedded(program); ok {
		return nil, errors.New("launcher image: there is one in front of the program already: build it anew")
	}
	out := moveSections(program)
	add := func(content []byte) (at int) {
		out = append(out, make([]byte, align(len(out), segmentAlign)-len(out))...)
		at = len(out)
		out = append(out, content...)
		return at
	}
	var others [][]byte // program headers of the second program
	if beside != nil {
		second, err := programHeaders(beside)
		if err != nil {
			return nil, err
		}
		at := add(beside)
		for i := range second.count {
			if h := second.header(i); le.Uint32(h) == ptLoad {
				others = append(others, movedHeader(h, le.Uint64(h[8:])+uint64(at)))
			}
		}
	}
	if argv != nil {
		h := make([]byte, progHeaderSize)
		le.PutUint32(h, ptLoad)
		le.PutUint32(h[4:], 4) // PF_R
		at := uint64(add(argv))
		for i, v := range [...]uint64{at, BaseArgv, BaseArgv, uint64(len(argv)), uint64(len(argv)), segmentAlign} {
			le.PutUint64(h[8+8*i:], v)
		}
		others = append(others, h)
	}
	at := add(file)
	var added [][]byte // by address
	for i := range 2 { // the image's own mappings, further on in the file
		added = append(added, movedHeader(file[elfHeaderSize+i*progHeaderSize:][:progHeaderSize], uint64(at)))
	}
	added = append(added, others...)

	f.elf = out
	end := f.at + f.count*progHeaderSize
	for _, b := range out[end : end+len(added)*progHeaderSize] {
		if b != 0 {
			return nil, errors.New("launcher image: there is no room for more program headers")
		}
	}
	all := f.count + len(added)
	for i := range f.count {
		if h := f.header(i); le.Uint32(h) == ptPhdr {
			le.PutUint64(h[32:], uint64(all*progHeaderSize))
			le.PutUint64(h[40:], uint64(all*progHeaderSize))
		}
	}
	for i, h := range added {
		copy(f.header(f.count+i), h)
	}
	le.PutUint16(out[56:], uint16(all))
	le.PutUint64(out[24:], BaseRO+uint64(im.textAt))
	return out, nil
}

// movedHeader is a program header whose part of the file is at another place.
func movedHeader(h []byte, offset uint64) []byte {
	h = append([]byte{}, h...)
	binary.LittleEndian.PutUint64(h[8:], offset)
	return h
}

// moveSections is a copy of a program with its section headers at its end. Go puts
// them right behind the program headers, which need the room; they are for
// debuggers, and nothing is loaded by them.
func moveSections(program []byte) []byte {
	le := binary.LittleEndian
	out := append([]byte{}, program...)
	size := int(le.Uint16(out[58:])) * int(le.Uint16(out[60:]))
	at, ok := within(le.Uint64(out[40:]), len(out)-size)
	if !ok || at == 0 || size == 0 {
		return out
	}
	out = append(out, make([]byte, align(len(out), 8)-len(out))...)
	le.PutUint64(out[40:], uint64(len(out)))
	out = append(out, out[at:at+size]...)
	clear(out[at : at+size])
	return out
}

// HasPrelude reports whether an image stands in front of a program.
func HasPrelude(elf []byte) bool {
	_, ok := embedded(elf)
	return ok
}

// embedded is the image in front of a program, with what follows it in the file.
func embedded(elf []byte) ([]byte, bool) {
	f, err := programHeaders(elf)
	if err != nil {
		return nil, false
	}
	for i := range f.count {
		h := f.header(i)
		if binary.LittleEndian.Uint32(h) != ptLoad || binary.LittleEndian.Uint64(h[16:]) != BaseRO {
			continue
		}
		at, ok := within(binary.LittleEndian.Uint64(h[8:]), len(elf))
		return elf[at:], ok && at > 0
	}
	return nil, false
}
