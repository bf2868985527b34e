package plan

import (
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// filterFlags are those with which the command's filter is loaded.
func filterFlags(flags uint) Arg {
	switch flags {
	case unix.SECCOMP_FILTER_FLAG_LOG:
		return named("SECCOMP_FILTER_FLAG_LOG", unix.SECCOMP_FILTER_FLAG_LOG)
	case unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW:
		return named("SECCOMP_FILTER_FLAG_SPEC_ALLOW", unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW)
	}
	return Num(uint64(flags))
}

// loadFilter gives the calling process a seccomp(2) filter. It comes after
// no_new_privs, which is what allows it without privilege.
func (b *builder) loadFilter(prog []unix.SockFilter, flags Arg) { b.loadFilterTo(prog, flags, Void) }

// loadFilterTo keeps the result, which is a listener where flags ask for one.
func (b *builder) loadFilterTo(prog []unix.SockFilter, flags Arg, to Var) {
	b.op(SysSeccomp, named("SECCOMP_SET_MODE_FILTER", unix.SECCOMP_SET_MODE_FILTER), flags, Ref(filterProgram(prog))).to(to)
}

// prctlFilter is loadFilter by prctl(2).
func (b *builder) prctlFilter(prog []unix.SockFilter) {
	b.op(SysPrctl, named("PR_SET_SECCOMP", unix.PR_SET_SECCOMP), named("SECCOMP_MODE_FILTER", unix.SECCOMP_MODE_FILTER), Ref(filterProgram(prog)), Num(0), Num(0))
}

// filterProgram is a struct sock_fprog.
func filterProgram(prog []unix.SockFilter) *Data {
	code := &Data{Bytes: make([]byte, 8*len(prog)), Align: 8, Text: "[" + strconv.Itoa(len(prog)) + " instructions]"}
	for i, in := range prog {
		at := code.Bytes[8*i:]
		binary.LittleEndian.PutUint16(at, in.Code)
		at[2], at[3] = in.Jt, in.Jf
		binary.LittleEndian.PutUint32(at[4:], in.K)
	}
	fprog := &Data{Bytes: make([]byte, 16), Align: 8, Relocs: []Reloc{{Off: 8, To: code}}, Text: "{len=" + strconv.Itoa(len(prog)) + ", filter=…}"}
	binary.LittleEndian.PutUint16(fprog.Bytes, uint16(len(prog)))
	return fprog
}
