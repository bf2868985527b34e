package program

import (
	"encoding/binary"
	"io"
	"strings"
)

// ELF is as much of an ELF file as tells what it needs to run, elf(5).
// debug/elf would do, but its packages (DWARF, compression) cost every
// `cloche run` their initialisation.
type ELF struct {
	file     io.ReaderAt
	order    binary.ByteOrder
	wide     bool   // 64 bits
	machine  uint16 // EM_X86_64 and its like
	entry    uint64
	segments []elfSegment
}

type elfSegment struct {
	kind, flags           uint32
	offset, address, size uint64 // size in the file
	memory                uint64 // size in memory
}

const (
	ptLoad    = 1
	ptDynamic = 2
	ptInterp  = 3

	pfWrite = 2

	dtNeeded  = 1
	dtStrtab  = 5
	dtRpath   = 15
	dtRunpath = 29

	maxInterpreter = 4096 // PATH_MAX
)

// ReadELF reads the header and the program headers, or returns nil for what
// is no ELF file or a broken one.
func ReadELF(f io.ReaderAt) *ELF {
	e := &ELF{file: f, order: binary.LittleEndian}
	head := e.bytes(0, 64)
	if len(head) < 52 || string(head[:4]) != "\x7fELF" {
		return nil
	}
	if head[5] == 2 {
		e.order = binary.BigEndian
	}
	e.machine = e.order.Uint16(head[18:])
	var table, size, count uint64
	if e.wide = head[4] == 2; e.wide {
		if len(head) < 64 {
			return nil
		}
		e.entry = e.order.Uint64(head[24:])
		table, size, count = e.order.Uint64(head[32:]), uint64(e.order.Uint16(head[54:])), uint64(e.order.Uint16(head[56:]))
	} else {
		e.entry = uint64(e.order.Uint32(head[24:]))
		table, size, count = uint64(e.order.Uint32(head[28:])), uint64(e.order.Uint16(head[42:])), uint64(e.order.Uint16(head[44:]))
	}
	if size < 32 || e.wide && size < 56 || count > 1024 {
		return nil
	}
	for i := range count {
		h := e.bytes(table+i*size, size)
		if uint64(len(h)) < size {
			return nil
		}
		s := elfSegment{kind: e.order.Uint32(h)}
		if e.wide {
			s.flags, s.memory = e.order.Uint32(h[4:]), e.order.Uint64(h[40:])
			s.offset, s.address, s.size = e.order.Uint64(h[8:]), e.order.Uint64(h[16:]), e.order.Uint64(h[32:])
		} else {
			s.flags, s.memory = e.order.Uint32(h[24:]), uint64(e.order.Uint32(h[20:]))
			s.offset, s.address, s.size = uint64(e.order.Uint32(h[4:])), uint64(e.order.Uint32(h[8:])), uint64(e.order.Uint32(h[16:]))
		}
		e.segments = append(e.segments, s)
	}
	return e
}

// bytes reads up to n bytes, at most 64 KiB, at an offset of the file.
func (e *ELF) bytes(at, n uint64) []byte {
	if at > 1<<62 {
		return nil
	}
	b := make([]byte, min(n, 64<<10))
	got, _ := e.file.ReadAt(b, int64(at))
	return b[:got]
}

// Interpreter is the dynamic loader that the kernel starts for it, or "".
func (e *ELF) Interpreter() string {
	for _, s := range e.segments {
		if s.kind == ptInterp && s.size <= maxInterpreter {
			return strings.TrimRight(string(e.bytes(s.offset, s.size)), "\x00")
		}
	}
	return ""
}

// Damage says what is wrong with the file, where its headers tell of things
// that are not there: the kernel begins to load it then, and kills the process
// instead of refusing execve(2). "" is no proof that it is whole.
func (e *ELF) Damage() string {
	found, entered := false, false
	for _, s := range e.segments {
		if s.kind != ptLoad {
			continue
		}
		found = true
		entered = entered || e.entry >= s.address && e.entry-s.address < s.memory
		end := s.offset + s.size
		if s.size > 0 && (end < s.offset || len(e.bytes(end-1, 1)) == 0) {
			return "a part that is to be loaded lies beyond the end of the file, so it is cut short or damaged"
		}
	}
	switch {
	case !found:
		return "its headers name nothing to load"
	case !entered:
		return "it would begin outside of what is loaded"
	}
	return ""
}

// Memory is how much of its address space a program takes to be loaded, and how
// much of that it may write to: what the rlimits as and data are held against.
func (e *ELF) Memory() (all, writable uint64) {
	const page = 4096
	for _, s := range e.segments {
		if s.kind != ptLoad || s.memory > 1<<48 {
			continue
		}
		n := (s.address%page + s.memory + page - 1) / page * page
		all += n
		if s.flags&pfWrite != 0 {
			writable += n
		}
	}
	return all, writable
}

// Matches reports whether a library is of the same kind of machine: a loader
// goes on looking where it is not.
func (e *ELF) Matches(lib *ELF) bool {
	return e.wide == lib.wide && e.machine == lib.machine && e.order == lib.order
}

// Dynamic reads the names of the needed libraries, and the lists of
// directories in which they are looked up (DT_RPATH, DT_RUNPATH).
func (e *ELF) Dynamic() (needed, searched []string) {
	needed = []string{}
	var table []byte
	for _, s := range e.segments {
		if s.kind == ptDynamic {
			table = e.bytes(s.offset, s.size)
		}
	}
	names, ok := uint64(0), false
	e.entries(table, func(tag, value uint64) {
		if tag == dtStrtab {
			names, ok = e.fileOffset(value)
		}
	})
	if !ok {
		return needed, nil
	}
	e.entries(table, func(tag, value uint64) {
		switch tag {
		case dtNeeded:
			needed = append(needed, e.text(names+value))
		case dtRpath, dtRunpath:
			searched = append(searched, e.text(names+value))
		}
	})
	return needed, searched
}

// entries goes through a dynamic section.
func (e *ELF) entries(table []byte, do func(tag, value uint64)) {
	word := 4
	if e.wide {
		word = 8
	}
	for ; len(table) >= 2*word; table = table[2*word:] {
		tag, value := uint64(e.order.Uint32(table)), uint64(e.order.Uint32(table[4:]))
		if e.wide {
			tag, value = e.order.Uint64(table), e.order.Uint64(table[8:])
		}
		if tag == 0 {
			return
		}
		do(tag, value)
	}
}

// fileOffset is where in the file an address comes from.
func (e *ELF) fileOffset(address uint64) (uint64, bool) {
	for _, s := range e.segments {
		if s.kind == ptLoad && address >= s.address && address-s.address < s.size {
			return address - s.address + s.offset, true
		}
	}
	return 0, false
}

// text is the string at an offset of the file, up to its NUL.
func (e *ELF) text(at uint64) string {
	b := e.bytes(at, 4096)
	for i := range b {
		if b[i] == 0 {
			return string(b[:i])
		}
	}
	return ""
}
