package launcher

import "encoding/binary"

// Sizes and numbers of elf(5), ELF64, little-endian.
const (
	elfHeaderSize  = 64
	progHeaderSize = 56
	etExec         = 2
	emX8664        = 62
	emAarch64      = 183
	ptLoad         = 1
	ptGNUStack     = 0x6474e551
	pfX, pfW, pfR  = 1, 2, 4

	// segmentAlign suits the largest page of the two architectures (arm64: 64 KiB).
	segmentAlign = 0x10000
)

// writeHeader fills the first bytes of an image: an executable with the two
// mappings of layout.go, and a stack that is not executable.
func writeHeader(elf []byte, goarch string, entry, rwSize, rwFile int) {
	le := binary.LittleEndian
	machine := uint16(emX8664)
	if goarch == "arm64" {
		machine = emAarch64
	}
	copy(elf, "\x7fELF\x02\x01\x01")
	le.PutUint16(elf[16:], etExec)
	le.PutUint16(elf[18:], machine)
	le.PutUint32(elf[20:], 1)
	le.PutUint64(elf[24:], BaseRO+uint64(entry))
	le.PutUint64(elf[32:], elfHeaderSize)
	le.PutUint16(elf[52:], elfHeaderSize)
	le.PutUint16(elf[54:], progHeaderSize)
	le.PutUint16(elf[56:], 3)

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
	ph(0, ptLoad, pfR|pfX, BaseRO, uint64(len(elf)), uint64(len(elf)), segmentAlign)
	ph(1, ptLoad, pfR|pfW, BaseRW, uint64(rwFile), uint64(rwSize), segmentAlign)
	ph(2, ptGNUStack, pfR|pfW, 0, 0, 0, 16)
}
