package seccomp

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzDisassemble reads programs that anybody may have written: each instruction is a
// line, and the way through is Simulate's.
func FuzzDisassemble(f *testing.F) {
	for _, name := range []string{"default", "strict"} {
		prog, _ := Precompiled(name, "amd64")
		var data []byte
		for _, in := range prog {
			data = binary.LittleEndian.AppendUint16(data, in.Code)
			data = append(data, in.Jt, in.Jf)
			data = binary.LittleEndian.AppendUint32(data, in.K)
		}
		f.Add(data, int32(41), uint64(40))
	}
	f.Fuzz(func(t *testing.T, data []byte, nr int32, arg uint64) {
		var prog []unix.SockFilter
		for ; len(data) >= 8 && len(prog) < 256; data = data[8:] {
			prog = append(prog, unix.SockFilter{Code: binary.LittleEndian.Uint16(data), Jt: data[2], Jf: data[3], K: binary.LittleEndian.Uint32(data[4:])})
		}
		for _, a := range []Arch{AMD64, S390X} {
			text := Disassemble(prog, a)
			if n := strings.Count(text, "\n"); n != len(prog) {
				t.Fatalf("%d lines of %d instructions", n, len(prog))
			}
			d := Data{NR: nr, Arch: a.Audit, Args: [6]uint64{arg, arg}}
			way, answer, err := Path(prog, d)
			want, steps, werr := Simulate(prog, d)
			if answer != want || (err == nil) != (werr == nil) || err == nil && len(way) != steps {
				t.Fatalf("%v after %d, %v; Simulate: %v after %d, %v", answer, len(way), err, want, steps, werr)
			}
		}
	})
}
