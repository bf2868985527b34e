package launcher

import "encoding/binary"

// Sizes and numbers of elf(5), ELF64, little-endian.
const (
	elfHeaderSize  = 64
	progHeaderSize = 56
	elfSegments    = 3
	etExec         = 2
	emX8664        = 62
	emAarch64      = 183
	ptLoad         = 1
	ptPhdr         = 6
	ptGNUStack     = 0x6474e551
	pfX, pfW, pfR  = 1, 2, 4

	// segmentAlign suits the largest page of the two architectures (arm64: 64 KiB).
	segmentAlign = 0x10000
)

// elfMachine is the e_machine of goarch; false: no image is made for it.
func elfMachine(goarch string) (uint16, bool) {
	switch goarch {
	case "amd64":
		return emX8664, true
	case "arm64":
		return emAarch64, true
	}
	return 0, false
}

// measures are the proportions of an image that its ELF header does not tell.
// They stand after the program headers, four bytes each, for parse alone: the
// interpreter never looks at them.
type measures struct {
	ops      int // operations, padding included
	resident int // how many of them are resident: they come first
	setupRO  int // as in Image
	setupRW  int
	textLen  int
}

// writeHeader fills the first offsetSlots bytes of an image: an executable with
// the two mappings of layout.go, and a stack that is not executable.
func writeHeader(elf []byte, machine uint16, fileSize, textAt, rwFile, rwSize int, m measures) {
	le := binary.LittleEndian
	copy(elf, "\x7fELF\x02\x01\x01")
	copy(elf[offsetMagic:], magic)
	le.PutUint16(elf[16:], etExec)
	le.PutUint16(elf[18:], machine)
	le.PutUint32(elf[20:], 1)
	le.PutUint64(elf[24:], BaseRO+uint64(textAt))
	le.PutUint64(elf[32:], elfHeaderSize)
	le.PutUint16(elf[52:], elfHeaderSize)
	le.PutUint16(elf[54:], progHeaderSize)
	le.PutUint16(elf[56:], elfSegments)

	ph := func(n int, typ, flags uint32, addr, file, mem, align uint64) {
		b := elf[elfHeaderSize+n*progHeaderSize:]
		le.PutUint32(b, typ)
		le.PutUint32(b[4:], flags)
		le.PutUint64(b[16:], addr)
		le.PutUint64(b[24:], addr)
		le.PutUint64(b[32:], file)
		le.PutUint64(b[40:], mem)
		le.PutUint64(b[48:], align)
	}
	ph(0, ptLoad, pfR|pfX, BaseRO, uint64(fileSize), uint64(fileSize), segmentAlign)
	ph(1, ptLoad, pfR|pfW, BaseRW, uint64(rwFile), uint64(rwSize), segmentAlign)
	ph(2, ptGNUStack, pfR|pfW, 0, 0, 0, 16)

	for i, n := range [...]int{m.ops, m.resident, m.setupRO, m.setupRW, m.textLen} {
		le.PutUint32(elf[offsetMeasures+4*i:], uint32(n))
	}
}
