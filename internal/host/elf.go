package host

import (
	"encoding/binary"
	"runtime"
)

// StaticELF wraps position-independent machine code of this architecture into
// the smallest program that Linux runs: one header, one segment, no libraries.
// Its stack is not executable.
func StaticELF(code []byte) []byte {
	const (
		base       = 0x400000
		headerSize = 64
		phdrSize   = 56
		phdrs      = 2
		start      = headerSize + phdrs*phdrSize
	)
	machine := uint16(62) // EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = 183 // EM_AARCH64
	}
	le := binary.LittleEndian
	b := make([]byte, 0, start+len(code))
	b = append(b, 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+start) // entry
	b = le.AppendUint64(b, headerSize) // program headers
	b = le.AppendUint64(b, 0)          // no sections
	b = le.AppendUint32(b, 0)          // flags
	b = le.AppendUint16(b, headerSize) // this header
	b = le.AppendUint16(b, phdrSize)   // a program header
	b = le.AppendUint16(b, phdrs)      // how many
	b = append(b, 64, 0, 0, 0, 0, 0)   // a section header, how many, names
	header := func(kind, flags uint32, offset, addr, size, align uint64) {
		b = le.AppendUint32(b, kind)
		b = le.AppendUint32(b, flags)
		for _, n := range [...]uint64{offset, addr, addr, size, size, align} {
			b = le.AppendUint64(b, n)
		}
	}
	const load, stack, r, w, x = 1, 0x6474e551, 4, 2, 1
	header(load, r|x, 0, base, uint64(start+len(code)), 0x10000)
	header(stack, r|w, 0, 0, 0, 16)
	return append(b, code...)
}

// exitCode is the code of exit(0).
func exitCode() []byte {
	if runtime.GOARCH == "arm64" {
		return []byte{
			0x00, 0x00, 0x80, 0xd2, // mov x0, #0
			0xc8, 0x0b, 0x80, 0xd2, // mov x8, #94 (exit_group)
			0x01, 0x00, 0x00, 0xd4, // svc #0
		}
	}
	return []byte{
		0x31, 0xff, // xor edi, edi
		0xb8, 0xe7, 0x00, 0x00, 0x00, // mov eax, 231 (exit_group)
		0x0f, 0x05, // syscall
	}
}
