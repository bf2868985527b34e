package launcher

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// typicalProgram has the size and the mixture of a plan of the default
// profile: n operations, two of three with data of their own.
func typicalProgram(n int) Program {
	p := Program{GOARCH: runtime.GOARCH, OnFatal: fatal, Vars: 40}
	filter := &plan.Data{Bytes: make([]byte, 1600), Align: 8}
	fprog := &plan.Data{Size: 16, Align: 8, Relocs: []plan.Reloc{{Off: 8, To: filter}}}
	shared := &plan.Data{Bytes: []byte("/\x00")}
	for i := range n {
		path := &plan.Data{Bytes: []byte("/usr/lib/" + strconv.Itoa(i) + "\x00")}
		op := plan.Op{Call: plan.SysOpenat2, Dst: plan.FirstFreeVar, Args: []plan.Arg{plan.Int(-100), plan.Ref(path), plan.Ref(shared), plan.Num(24)}}
		if i%3 == 0 {
			op = plan.Op{Call: plan.SysClose, Args: []plan.Arg{plan.Slot(plan.FirstFreeVar)}, Errno: 2, OnErrno: 2}
		}
		op.Resident = i%10 == 9
		if i == n/2 {
			op = plan.Op{Call: plan.SysSeccomp, Args: []plan.Arg{plan.Num(1), plan.Num(0), plan.Ref(fprog)}, Mark: 2}
		}
		p.Ops = append(p.Ops, op)
	}
	p.Ops = append(p.Ops, plan.Op{Call: plan.SysExitGroup, Args: []plan.Arg{plan.Num(1)}, Mark: fatal, Resident: true})
	return p
}

func BenchmarkAssemble(b *testing.B) {
	p := typicalProgram(250)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Assemble(p); err != nil {
			b.Fatal(err)
		}
	}
}
