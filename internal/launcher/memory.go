package launcher

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Memory is what a simulated image can address: its two mappings and the
// beginning of its stack. It is stricter than pages are: the first byte after
// a mapping's last one is not there.
type Memory struct {
	parts []part
	gone  []part // what Unmap took away, without bytes
}

type part struct {
	addr     uint64
	size     uint64
	bytes    []byte
	writable bool
}

// FaultError is an access to memory that is not there, or not writable: what
// kills a real image with SIGSEGV.
type FaultError struct {
	Addr, Len uint64
	Write     bool
}

func (e *FaultError) Error() string {
	what := "read"
	if e.Write {
		what = "written"
	}
	return fmt.Sprintf("%d bytes at %#x can't be %s", e.Len, e.Addr, what)
}

func (m *Memory) add(addr uint64, b []byte, writable bool) {
	m.parts = append(m.parts, part{addr, uint64(len(b)), b, writable})
}

// slice is the memory itself, not a copy.
func (m *Memory) slice(addr, n uint64, write bool) ([]byte, error) {
	for i := range m.parts {
		p := &m.parts[i]
		if addr >= p.addr && addr-p.addr <= p.size && n <= p.size-(addr-p.addr) && (!write || p.writable) {
			return p.bytes[addr-p.addr:][:n:n], nil
		}
	}
	return nil, &FaultError{addr, n, write}
}

// Read is a copy of n bytes at addr.
func (m *Memory) Read(addr uint64, n int) ([]byte, error) {
	b, err := m.slice(addr, uint64(n), false)
	return bytes.Clone(b), err
}

// Write puts b at addr.
func (m *Memory) Write(addr uint64, b []byte) error {
	to, err := m.slice(addr, uint64(len(b)), true)
	copy(to, b)
	return err
}

// String is the NUL-terminated string at addr.
func (m *Memory) String(addr uint64) (string, error) {
	for i := range m.parts {
		p := &m.parts[i]
		if addr < p.addr || addr-p.addr >= p.size {
			continue
		}
		b := p.bytes[addr-p.addr:]
		if n := bytes.IndexByte(b, 0); n >= 0 {
			return string(b[:n]), nil
		}
	}
	return "", &FaultError{Addr: addr, Len: 1}
}

// load and store access a number the way the pseudo-operations do: a size that
// is not 1, 2 or 4 bytes is 8, and only its low 32 bits count.
func (m *Memory) load(addr, size uint64) (uint64, error) {
	n := operandSize(size)
	b, err := m.slice(addr, n, false)
	if err != nil {
		return 0, err
	}
	var whole [8]byte
	copy(whole[:], b)
	return binary.LittleEndian.Uint64(whole[:]), nil
}

func (m *Memory) store(addr, value, size uint64) error {
	var whole [8]byte
	binary.LittleEndian.PutUint64(whole[:], value)
	return m.Write(addr, whole[:operandSize(size)])
}

func operandSize(size uint64) uint64 {
	switch s := uint32(size); {
	case s < 2:
		return 1
	case s == 2, s == 4:
		return uint64(s)
	default:
		return 8
	}
}

// Unmap takes memory away as munmap(2) does; false: EINVAL.
func (m *Memory) Unmap(addr, n uint64) bool {
	if addr%pageSize != 0 || n == 0 || n > math.MaxUint64-addr-pageSize {
		return false
	}
	end := addr + (n+pageSize-1)&^(pageSize-1)
	var left []part
	for _, p := range m.parts {
		if p.addr+p.size <= addr || p.addr >= end {
			left = append(left, p)
			continue
		}
		if p.addr < addr {
			left = append(left, part{p.addr, addr - p.addr, p.bytes[:addr-p.addr], p.writable})
		}
		if p.addr+p.size > end {
			left = append(left, part{end, p.addr + p.size - end, p.bytes[end-p.addr:], p.writable})
		}
	}
	m.parts = left
	m.gone = append(m.gone, part{addr: addr, size: end - addr})
	return true
}

// unmapped reports whether addr lies in what Unmap took away.
func (m *Memory) unmapped(addr uint64) bool {
	for _, p := range m.gone {
		if addr >= p.addr && addr-p.addr < p.size {
			return true
		}
	}
	return false
}

// clone is a copy of its own, as fork(2) makes.
func (m *Memory) clone() *Memory {
	c := &Memory{gone: m.gone[:len(m.gone):len(m.gone)]}
	for _, p := range m.parts {
		if p.writable {
			p.bytes = bytes.Clone(p.bytes)
		}
		c.parts = append(c.parts, p)
	}
	return c
}
