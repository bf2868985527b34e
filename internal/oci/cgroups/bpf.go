package cgroups

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE decides on cgroup2 what
// devices.allow and devices.deny do on v1. The library for eBPF would
// cost every start of a container its initialisation, for a program of eight
// instructions a rule.

// instruction is struct bpf_insn.
type instruction struct {
	code     uint8
	dst, src uint8
	off      int16
	imm      int32
}

const (
	r0 = iota
	r1 // struct bpf_cgroup_dev_ctx: __u32 access_type, major, minor
	r2 // type
	r3 // the accesses that no rule has allowed yet
	r4 // major
	r5 // minor
)

// Opcodes, from linux/bpf_common.h and linux/bpf.h.
const (
	opLoadWord = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	opMov      = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	opMovReg   = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	opAnd      = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opShift    = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	opJumpNE   = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K
	opJumpSet  = unix.BPF_JMP32 | unix.BPF_JSET | unix.BPF_K
	opExit     = unix.BPF_JMP | unix.BPF_EXIT
)

// deviceProgram looks at the rules from the last to the first. A rule that
// denies any access that is still in question decides; rules that
// allow take theirs out of it, and when none is left that decides too.
func deviceProgram(rules []rule) []instruction {
	p := []instruction{
		{code: opLoadWord, dst: r2, src: r1, off: 0},
		{code: opMovReg, dst: r3, src: r2},
		{code: opAnd, dst: r2, imm: 0xffff},
		{code: opShift, dst: r3, imm: 16},
		{code: opLoadWord, dst: r4, src: r1, off: 4},
		{code: opLoadWord, dst: r5, src: r1, off: 8},
	}
	answer := func(allow bool) []instruction {
		i := instruction{code: opMov, dst: r0}
		if allow {
			i.imm = 1
		}
		return []instruction{i, {code: opExit}}
	}
	for i := len(rules) - 1; i >= 0; i-- {
		r := &rules[i]
		if r.all() {
			return append(p, answer(r.allow)...) // nothing before it matters
		}
		var body []instruction
		if r.allow {
			body = append(body, instruction{code: opAnd, dst: r3, imm: int32(anyAccess &^ r.access)})
			body = append(body, instruction{code: opJumpNE, dst: r3, imm: 0, off: 2})
			body = append(body, answer(true)...)
		} else {
			body = append(body, instruction{code: opJumpSet, dst: r3, imm: int32(r.access), off: 1})
			body = append(body, instruction{code: unix.BPF_JMP | unix.BPF_JA, off: 2})
			body = append(body, answer(false)...)
		}
		var tests []instruction
		if r.kind != 'a' {
			kind := int32(unix.BPF_DEVCG_DEV_BLOCK)
			if r.kind == 'c' {
				kind = unix.BPF_DEVCG_DEV_CHAR
			}
			tests = append(tests, instruction{code: opJumpNE, dst: r2, imm: kind})
		}
		if r.major != anyNumber {
			tests = append(tests, instruction{code: opJumpNE, dst: r4, imm: int32(uint32(r.major))})
		}
		if r.minor != anyNumber {
			tests = append(tests, instruction{code: opJumpNE, dst: r5, imm: int32(uint32(r.minor))})
		}
		for j := range tests {
			tests[j].off = int16(len(tests) - j - 1 + len(body))
		}
		p = append(append(p, tests...), body...)
	}
	return append(p, answer(false)...)
}

// encode is the program as the kernel takes it on this machine.
func encode(program []instruction) []byte {
	b := make([]byte, 0, 8*len(program))
	for _, i := range program {
		b = append(b, i.code, i.src<<4|i.dst)
		b = binary.NativeEndian.AppendUint16(b, uint16(i.off))
		b = binary.NativeEndian.AppendUint32(b, uint32(i.imm))
	}
	return b
}

// loadAttr is the part of union bpf_attr that BPF_PROG_LOAD of Linux 4.15 has.
type loadAttr struct {
	kind, count    uint32
	insns, license uint64
	_              [6]uint32 // log_level to prog_flags
	name           [16]byte
}

// attachAttr is the part for BPF_PROG_ATTACH and BPF_PROG_DETACH.
type attachAttr struct{ target, program, kind, flags uint32 }

type queryAttr struct {
	target, kind uint32
	_            [2]uint32 // query_flags, attach_flags
	ids          uint64
	count        uint32
	_            uint32
}

func bpf[T any](cmd uintptr, attr *T) (int, error) {
	for range 16 { // EAGAIN: the verifier was interrupted by a signal
		n, _, e := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		switch e {
		case 0:
			return int(n), nil
		case unix.EAGAIN, unix.EINTR:
			continue
		}
		return -1, e
	}
	return -1, unix.EAGAIN
}

// setDevices attaches a program to a directory of cgroup2, and detaches those
// that this or another runtime had attached to the same directory: all of a
// directory's programs have to agree, so an old one would go on denying.
func setDevices(dir int, rules []rule) error {
	code := encode(deviceProgram(rules))
	license := []byte("Apache\x00")
	attr := loadAttr{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(code) / 8),
		insns: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
		name: [16]byte{'c', 'l', 'o', 'c', 'h', 'e', '_', 'd', 'e', 'v'},
	}
	program, err := bpf(unix.BPF_PROG_LOAD, &attr)
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if err != nil {
		return fmt.Errorf("load an eBPF program of %d instructions for %d device rules: %w%s", len(code)/8, len(rules), err, whyNoBPF(err))
	}
	defer unix.Close(program)
	old, err := attachedDevices(dir)
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range old {
			unix.Close(fd)
		}
	}()
	attach := attachAttr{target: uint32(dir), program: uint32(program), kind: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI}
	if _, err := bpf(unix.BPF_PROG_ATTACH, &attach); err != nil {
		return fmt.Errorf("attach an eBPF program for device rules: %w%s", err, whyNoBPF(err))
	}
	for _, fd := range old {
		detach := attachAttr{target: uint32(dir), program: uint32(fd), kind: unix.BPF_CGROUP_DEVICE}
		if _, err := bpf(unix.BPF_PROG_DETACH, &detach); err != nil && err != unix.ENOENT {
			return fmt.Errorf("detach the old eBPF program for device rules: %w", err)
		}
	}
	return nil
}

// attachedDevices opens the programs that a directory has.
func attachedDevices(dir int) (fds []int, err error) {
	var ids [64]uint32
	query := queryAttr{target: uint32(dir), kind: unix.BPF_CGROUP_DEVICE, ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids))}
	if _, err := bpf(unix.BPF_PROG_QUERY, &query); err != nil {
		if err == unix.EINVAL { // before Linux 4.15 there are none
			return nil, nil
		}
		return nil, fmt.Errorf("list the eBPF programs for device rules: %w%s", err, whyNoBPF(err))
	}
	for _, id := range ids[:min(int(query.count), len(ids))] {
		get := struct{ id, next, flags uint32 }{id: id}
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, &get)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return fds, fmt.Errorf("open an eBPF program for device rules: %w%s", err, whyNoBPF(err))
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func whyNoBPF(err error) string {
	switch err {
	case unix.EPERM:
		return ": it needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, outside of a user namespace (and before Linux 5.11 room in RLIMIT_MEMLOCK)"
	case unix.ENOSYS, unix.EINVAL:
		return ": this kernel has none for devices (CONFIG_CGROUP_BPF, Linux 4.15)"
	}
	return ""
}
