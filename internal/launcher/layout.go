// Package launcher turns a plan's operations into a launcher image: a static
// ELF of a few KiB that carries them out with no runtime of any language.
//
// The image holds one fixed interpreter (interpreter_amd64.s,
// interpreter_arm64.s), a table of operations, and their data. Nothing here
// makes a system call; internal/supervise starts what Assemble returns.
package launcher

import "github.com/cloche-sandbox/cloche/internal/plan"

// The image is one file, mapped twice. Offset 0 on, it is mapped readable and
// executable at BaseRO, whole; its beginning is mapped again, private and
// writable, at BaseRW. So no padding lies between the two and a small image is
// a small file, whatever the page size.
//
//	header         ELF header, program headers, measures
//	slots          MaxVars numbers of eight bytes          ┐ also at BaseRW
//	writable data  ResidentRW, then SetupRW, initialised   ┘ (zeroed data follows there)
//	interpreter
//	ResidentRO data
//	operations     resident ones
//	  -- page boundary: what follows is unmapped when set-up is over --
//	operations     set-up ones
//	SetupRO data
//
// The addresses are above those of any program that Go links, so that an image
// may stand in front of one in the same process, see Fuse.
const (
	BaseRO = 0x10000000
	BaseRW = 0x10400000

	// offsetMeasures is where the file tells its own proportions, between the
	// program headers and the slots, see measures.
	offsetMeasures = elfHeaderSize + elfSegments*progHeaderSize

	// offsetSlots is where the slots begin, in the file and above BaseRW; the
	// interpreters hold SlotsAddress as a constant.
	offsetSlots  = 0x100
	SlotsAddress = BaseRW + offsetSlots

	// offsetData is the end of the slots.
	offsetData = offsetSlots + 8*plan.MaxVars

	// pageSize is the granularity at which the set-up part is unmapped. On a
	// kernel with larger pages the munmap fails harmlessly.
	pageSize = 4096

	// maxImage keeps BaseRO's mapping clear of BaseRW's.
	maxImage = BaseRW - BaseRO
)

// The operation's binary form, 64 bytes, little-endian:
//
//	 0  u16  number: of the system call, or 0x8000 + that of the pseudo-operation
//	 2  u8   bit i set: argument i is a slot's index
//	 3  u8   slot that receives the result
//	 4  u16  errno with a way of its own, 0: none
//	 6  u16  operation to go to on that errno
//	 8  u16  operation to go to on another error, 0xffff: fatal
//	10  u16  operation to go to otherwise
//	12  u32  the step it belongs to; only a standalone image's own messages ask for it
//	16  6 × u64  arguments
const (
	opSize     = 64
	opPseudo   = 0x8000
	opFatal    = 0xffff
	maxOps     = 0x7fff // indices are u16, and the highest means fatal
	opArgsAt   = 16
	opMaxArgs  = 6
	errnoLimit = 4095 // results above -4096 are errors, as for system calls
)

// magic stands in the padding of an image's e_ident (elf(5)); its last byte is
// the version of everything that this file describes.
const (
	offsetMagic = 9
	magic       = "cloche\x02"
)

// Image is a launcher image and what is needed to speak about it.
type Image struct {
	ELF []byte

	// Ops maps the index of an operation in the image, which is what a failing
	// image reports, to its index in the plan; -1 for padding.
	Ops []int

	entry   int // index of the first operation
	textAt  int // file offset of the interpreter, and its length
	textLen int
	setupRO int // file offset from which on BaseRO is not needed after set-up
	setupRW int // offset above BaseRW, the same
	rwFile  int // bytes of the file that are mapped at BaseRW
	rwSize  int // bytes mapped at BaseRW in all, header included
}
