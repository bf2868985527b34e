package plan

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGoldenStandaloneCgroup is the plan of an executable that makes a cgroup:
// a required limit and a where-available one.
func TestGoldenStandaloneCgroup(t *testing.T) {
	p := builtin(t, "default")
	p.Limits.Parent, p.Limits.Memory = "/sys/fs/cgroup/memory/jobs", 64<<20
	in := input(t, p)
	in.Standalone = &Standalone{Command: []string{"/bin/true"}}
	golden(t, "default-standalone-cgroup", in)
}

// TestIntoCgroup: who waits for pid 1 by itself must be told of its end; one that is
// the supervisor's child is of the launcher's kind, and clone3(2) refuses to be told.
func TestIntoCgroup(t *testing.T) {
	for _, inPlace := range []bool{true, false} {
		in := input(t, builtin(t, "default"))
		in.HasCgroup, in.CgroupFD = true, 4
		if inPlace {
			in.Standalone = &Standalone{InPlace: &InPlace{ReadFD: 3, ExeFD: 5}}
		}
		p, err := Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Ops {
			if p.Ops[i].Call != SysClone3 {
				continue
			}
			d, _, _ := p.Ops[i].Args[0].IsData()
			const exitSignal = 4 * 8 // struct clone_args
			got := binary.LittleEndian.Uint64(d.Bytes[exitSignal:])
			if want := map[bool]uint64{true: uint64(unix.SIGCHLD), false: 0}[inPlace]; got != want {
				t.Errorf("in place: %v: exit_signal %d, want %d", inPlace, got, want)
			}
		}
	}
}
