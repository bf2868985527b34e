package launcher

import (
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

const r plan.Var = 10 // where the tests leave results

func op(c plan.Call, args ...plan.Arg) plan.Op { return plan.Op{Call: c, Args: args, Dst: r} }
func num(v uint64) plan.Arg                    { return plan.Num(v) }
func bytesOf(s string) *plan.Data              { return &plan.Data{Bytes: []byte(s)} }
func ref(s string) plan.Arg                    { return plan.Ref(bytesOf(s)) }

func exit(a plan.Arg) plan.Op {
	return plan.Op{Call: plan.SysExitGroup, Args: []plan.Arg{a}}
}

func TestPseudoOperations(t *testing.T) {
	const big = math.MaxUint64
	long := strings.Repeat("x", 300)
	neg := func(e syscall.Errno) uint64 { return -uint64(e) }
	tests := []struct {
		op   plan.Op
		want uint64
		exit int // 100: a fatal error
	}{
		{op(plan.Branch, num(0xf5), num(0xf), num(5), num(plan.CondEqual)), 0, 0},
		{op(plan.Branch, num(0xf5), num(0xf), num(6), num(plan.CondEqual)), neg(syscall.EPERM), 100},
		{op(plan.Branch, num(0x1_0000_0005), num(big), num(5), num(plan.CondEqual)), neg(syscall.EPERM), 100},
		{op(plan.Branch, num(4), num(big), num(5), num(plan.CondLess)), 0, 0},
		{op(plan.Branch, num(5), num(big), num(5), num(plan.CondLess)), neg(syscall.EPERM), 100},
		{op(plan.Branch, num(big), num(big), num(5), num(plan.CondLess)), neg(syscall.EPERM), 100},
		{op(plan.Branch, num(big), num(big), num(5), num(plan.CondGreater)), 0, 0},
		{op(plan.Branch, num(5), num(big), num(5), num(plan.CondGreater)), neg(syscall.EPERM), 100},
		{op(plan.Branch, num(5), num(big), num(6), num(plan.CondGreater)), neg(syscall.EPERM), 100},

		{op(plan.Alu, num(0xab00), num(8), num(0xf), num(4), num(1)), 0xb1, 0},
		{op(plan.Alu, num(big), num(0), num(big), num(0), num(0)), big, 0}, // no error
		{op(plan.Alu, num(big), num(63), num(big), num(63), num(0)), 1 << 63, 0},
		{op(plan.Alu, num(big), num(64), num(big), num(65), num(0)), big - 1, 0}, // shifts modulo 64
		{op(plan.Alu, num(7), num(0), num(big), num(0), plan.Int(-7)), 0, 0},
		{op(plan.Alu, num(0), num(0), num(0), num(0), plan.Int(-4095)), neg(4095), 0},

		{op(plan.Load, ref("\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), num(1)), 0x88, 0},
		{op(plan.Load, ref("\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), num(2)), 0x9988, 0},
		{op(plan.Load, ref("\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), num(4)), 0xbbaa9988, 0},
		{op(plan.Load, ref("\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), num(8)), 0xffeeddccbbaa9988, 0},
		{op(plan.Load, ref("\xff\xff\xff\xff\xff\xff\xff\xff"), num(8)), big, 0}, // no error

		{op(plan.Copy, num(0), ref("abc\x00"), num(0), num(10)), 3, 0},
		{op(plan.Copy, num(0), ref("abc:d\x00"), num(':'), num(10)), 3, 0},
		{op(plan.Copy, num(0), ref("\x00"), num(0), num(0)), 0, 0},
		{op(plan.Copy, num(0), ref("abc\x00"), num(0), num(3)), 3, 0},
		{op(plan.Copy, num(0), ref("abc\x00"), num(0), num(2)), neg(syscall.ENAMETOOLONG), 100},
		{op(plan.Copy, num(0), ref(long+"\x00"), num(256), num(big)), 300, 0},

		{op(plan.Compare, ref("same1"), ref("same2"), num(4)), 0, 0},
		{op(plan.Compare, ref("same1"), ref("same2"), num(5)), neg(syscall.EPERM), 100},
		{op(plan.Compare, ref("a"), ref("b"), num(0)), 0, 0},
		{op(plan.Compare, ref("\x00\x00x"), ref("\x00\x00x"), num(3)), 0, 0},

		{op(plan.Parse, ref("0\x00")), 0, 0},
		{op(plan.Parse, ref("1048576 kB")), 1048576, 0},
		{op(plan.Parse, ref("x1")), 0, 0},
		{op(plan.Parse, ref("/")), 0, 0}, // the character before '0'
		{op(plan.Parse, ref("9:")), 9, 0},
		{op(plan.Parse, ref("18446744073709551615\x00")), big, 0},
		{op(plan.Parse, ref("18446744073709551617\x00")), 1, 0}, // modulo 2^64
	}
	for i, test := range tests {
		t.Run(fmt.Sprintf("%d %s", i, test.op.Call.Name()), func(t *testing.T) {
			o := both(t, dump(test.op))
			if slotOf(o, r) != test.want || o.exit != test.exit {
				t.Errorf("got %#x, exit %d; want %#x, %d", slotOf(o, r), o.exit, test.want, test.exit)
			}
			if o.exit == 100 && (slotOf(o, plan.VarFailedOp) != slotOf(o, plan.VarFailedOp)&0x7fff || slotOf(o, plan.VarFailedErrno) != -test.want) {
				t.Errorf("failed %d with %d", slotOf(o, plan.VarFailedOp), slotOf(o, plan.VarFailedErrno))
			}
		})
	}
}

// TestWriting covers the pseudo-operations that change memory.
func TestWriting(t *testing.T) {
	var ops []plan.Op
	want := ""
	show := func(d *plan.Data, n int) {
		ops = append(ops, plan.Op{Call: plan.SysWrite, Args: []plan.Arg{num(1), plan.Ref(d), num(uint64(n))}})
	}
	for _, v := range []uint64{0, 1, 9, 10, 99, 100, 65536, math.MaxInt64, math.MaxUint64, 10000000000000000000} {
		d := &plan.Data{Section: plan.SetupRW, Bytes: []byte(strings.Repeat("#", 24))}
		ops = append(ops, op(plan.Format, plan.Ref(d), num(v)))
		show(d, 24)
		s := fmt.Sprint(v) + "\x00"
		want += s + strings.Repeat("#", 24-len(s))
	}
	for _, size := range []uint64{1, 2, 4, 8} {
		d := &plan.Data{Section: plan.ResidentRW, Bytes: []byte("##########")}
		ops = append(ops, op(plan.Store, plan.RefAt(d, 1), num(0x6867666564636261), num(size)))
		show(d, 10)
		want += "#" + "abcdefgh"[:size] + strings.Repeat("#", 9-int(size))
	}
	d := &plan.Data{Section: plan.SetupRW, Size: 8} // zeroed
	ops = append(ops, op(plan.Copy, plan.Ref(d), ref("usr/bin:x"), num(':'), num(7)))
	show(d, 8)
	want += "usr/bin\x00"
	// Overlapping: forwards, byte by byte.
	d = &plan.Data{Section: plan.SetupRW, Bytes: []byte("abcdefg\x00")}
	ops = append(ops, op(plan.Copy, plan.RefAt(d, 1), plan.Ref(d), num(0), num(3)))
	ops[len(ops)-1].IgnoreErr = true
	show(d, 8)
	want += "aaaaefg\x00"
	if o := both(t, dump(ops...)); o.stdout != want || o.exit != 0 {
		t.Errorf("got %q, exit %d; want %q", o.stdout, o.exit, want)
	}
}

func TestJumps(t *testing.T) {
	bad := func() plan.Op { return op(plan.SysClose, num(1000)) } // EBADF
	good := func() plan.Op { return op(plan.SysUmask, num(0o22)) }
	tail := func(first ...plan.Op) []plan.Op { // next: 1; label 2: 2; label 3: 3
		two, three := exit(num(2)), exit(num(3))
		two.Mark, three.Mark = 2, 3
		return append(dump(append(first, exit(num(1)), two, three)...), exit(num(9)))
	}
	with := func(o plan.Op, f func(*plan.Op)) plan.Op { f(&o); return o }
	tests := map[string]struct {
		op   plan.Op
		want int
	}{
		"next":              {good(), 1},
		"OnOK":              {with(good(), func(o *plan.Op) { o.OnOK = 2 }), 2},
		"OnOK not OnErr":    {with(good(), func(o *plan.Op) { o.OnErr, o.OnErrno, o.Errno = 2, 3, 9 }), 1},
		"fatal":             {bad(), 100},
		"OnErr":             {with(bad(), func(o *plan.Op) { o.OnErr = 3 }), 3},
		"OnErr Following":   {with(bad(), func(o *plan.Op) { o.OnErr = plan.Following; o.OnOK = 2 }), 1},
		"Errno":             {with(bad(), func(o *plan.Op) { o.OnErr, o.OnErrno, o.Errno = 3, 2, 9 }), 2},
		"another errno":     {with(bad(), func(o *plan.Op) { o.OnErr, o.OnErrno, o.Errno = 3, 2, 10 }), 3},
		"Errno, else fatal": {with(bad(), func(o *plan.Op) { o.OnErrno, o.Errno = 2, 10 }), 100},
		"Errno to next":     {with(bad(), func(o *plan.Op) { o.Errno = 9 }), 1},
		"IgnoreErr":         {with(bad(), func(o *plan.Op) { o.IgnoreErr = true }), 1},
		"IgnoreErr, OnOK":   {with(bad(), func(o *plan.Op) { o.IgnoreErr, o.OnOK = true, 3 }), 3},
		"IgnoreErr, Errno":  {with(bad(), func(o *plan.Op) { o.IgnoreErr, o.Errno, o.OnErrno = true, 9, 3 }), 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := both(t, tail(test.op))
			if o.exit != test.want {
				t.Errorf("exit %d, want %d", o.exit, test.want)
			}
			if test.want == 100 && slotOf(o, plan.VarFailedErrno) != 9 {
				t.Errorf("errno %d", slotOf(o, plan.VarFailedErrno))
			}
		})
	}
}

// TestRetry repeats an operation while it fails with one errno, as for EINTR.
func TestRetry(t *testing.T) {
	fd, count := plan.Var(11), plan.Var(12)
	start := op(plan.Alu, num(0), num(0), num(0), num(0), num(1000))
	start.Dst = fd
	again := op(plan.SysClose, plan.Slot(fd))
	again.Mark, again.Errno, again.OnErrno = 2, 9, 3
	done := exit(plan.Slot(count))
	less := plan.Op{Call: plan.Alu, Args: []plan.Arg{plan.Slot(fd), num(0), num(math.MaxUint64), num(0), plan.Int(-333)}, Dst: fd, Mark: 3}
	more := plan.Op{Call: plan.Alu, Args: []plan.Arg{plan.Slot(count), num(0), num(math.MaxUint64), num(0), num(7)}, Dst: count, OnOK: 2}
	if o := both(t, dump(start, again, done, less, more)); o.exit != 3*7 {
		t.Errorf("exit %d", o.exit)
	}
}

func TestArguments(t *testing.T) {
	argc, argv, envp := plan.Slot(plan.VarArgc), plan.Slot(plan.VarArgv), plan.Slot(plan.VarEnvp)
	p, n := plan.Var(11), plan.Var(12)
	var ops []plan.Op
	for _, list := range []plan.Arg{argv, envp} {
		for i := range uint64(2) {
			ops = append(ops,
				plan.Op{Call: plan.Alu, Args: []plan.Arg{list, num(0), num(math.MaxUint64), num(0), num(8 * i)}, Dst: p},
				plan.Op{Call: plan.Load, Args: []plan.Arg{plan.Slot(p), num(8)}, Dst: p},
				plan.Op{Call: plan.Copy, Args: []plan.Arg{num(0), plan.Slot(p), num(0), num(100)}, Dst: n},
				plan.Op{Call: plan.SysWrite, Args: []plan.Arg{num(1), plan.Slot(p), plan.Slot(n)}},
				plan.Op{Call: plan.SysWrite, Args: []plan.Arg{num(1), ref("\n"), num(1)}})
		}
	}
	ops = append(ops, exit(argc))
	if o := both(t, dump(ops...), "zero", "one", ""); o.stdout != "zero\none\nPATH=/bin:/usr/bin\nN=4711\n" || o.exit != 3 {
		t.Errorf("got %q, exit %d", o.stdout, o.exit)
	}
}

// TestVfork: a child that shares the slots goes on beside its parent, which
// then sees what the child left in them and its own result of clone.
func TestVfork(t *testing.T) {
	const flags = syscall.CLONE_VM | syscall.CLONE_VFORK | uint64(syscall.SIGCHLD)
	for name, f := range map[string]struct {
		flags uint64
		want  int
	}{"shared": {flags, 42}, "copied": {uint64(syscall.SIGCHLD), 0}} {
		t.Run(name, func(t *testing.T) {
			if name == "shared" && os.Getenv(qemuVariable) != "" {
				needs.Elsewhere(t, "the emulator carries out vfork as fork")
			}
			pid, left := plan.Var(11), plan.Var(12)
			status := &plan.Data{Section: plan.SetupRW, Size: 4, Align: 4}
			child := op(plan.Alu, num(0), num(0), num(0), num(0), num(42))
			child.Dst, child.Mark = left, 2
			isParent := op(plan.Branch, plan.Slot(pid), num(math.MaxUint64), num(0), num(plan.CondGreater))
			isParent.OnErr = 2
			o := both(t, append(dump(
				plan.Op{Call: plan.SysClone, Args: []plan.Arg{num(f.flags), num(0), num(0), num(0), num(0)}, Dst: pid},
				isParent,
				op(plan.SysWait4, plan.Slot(pid), plan.Ref(status), num(0), num(0)),
				op(plan.Branch, plan.Slot(pid), num(math.MaxUint64), plan.Slot(r), num(plan.CondEqual)),
				op(plan.Load, plan.Ref(status), num(4)),
				op(plan.Branch, plan.Slot(r), num(math.MaxUint64), num(5<<8), num(plan.CondEqual)),
				exit(plan.Slot(left)),
			), child, exit(num(5))))
			if o.exit != f.want {
				t.Errorf("exit %d, want %d", o.exit, f.want)
			}
		})
	}
}

// TestResident: when set-up is over its part of the image is unmapped, and the
// resident operations go on.
func TestResident(t *testing.T) {
	resident := func(o plan.Op) plan.Op { o.Resident = true; return o }
	keptRO := &plan.Data{Section: plan.ResidentRO, Bytes: []byte("kept\n")}
	keptRW := &plan.Data{Section: plan.ResidentRW, Size: 5000}
	lostRW := &plan.Data{Section: plan.SetupRW, Size: 10000}
	lostRO := bytesOf(strings.Repeat("lost", 2000))
	ops := []plan.Op{
		op(plan.Store, plan.RefAt(lostRW, 9999), num('x'), num(1)),
		op(plan.Store, plan.RefAt(keptRW, 4999), num('\n'), num(1)),
		op(plan.SysWrite, num(1), plan.Ref(lostRO), num(8)),
		resident(op(plan.SysMunmap, plan.RegionArg(plan.SetupROAddress), plan.RegionArg(plan.SetupROLength))),
		resident(op(plan.SysMunmap, plan.RegionArg(plan.SetupRWAddress), plan.RegionArg(plan.SetupRWLength))),
		resident(op(plan.SysWrite, num(1), plan.Ref(keptRO), num(5))),
		resident(op(plan.SysWrite, num(1), plan.RefAt(keptRW, 4999), num(1))),
		resident(exit(num(6))),
	}
	if o := both(t, append(ops, dump()...)); o.stdout != "lostlostkept\n\n" || o.exit != 6 {
		t.Errorf("got %q, exit %d", o.stdout, o.exit)
	}
	for what, use := range map[string]plan.Op{
		"data":      resident(op(plan.SysWrite, num(1), plan.Ref(lostRO), num(4))),
		"memory":    resident(op(plan.Load, plan.Slot(11), num(4))),
		"operation": exit(num(6)),
	} {
		addr := op(plan.Alu, plan.Ref(lostRW), num(0), num(math.MaxUint64), num(0), num(0))
		addr.Dst = 11
		bad := append([]plan.Op{addr}, ops[3:5]...)
		im := assembled(t, append(append(bad, use), dump()...))
		if o, err := simulated(t, im, 1000); err == nil {
			t.Errorf("%s: the simulator did not notice the use of what was unmapped: %+v", what, o)
		}
		if o := really(t, im); what != "data" && o.exit != 128+int(syscall.SIGSEGV) {
			t.Errorf("%s: exit %d", what, o.exit)
		}
	}
}

// TestRelocs follows addresses from data to data, in a circle and with an offset.
func TestRelocs(t *testing.T) {
	for s := plan.SetupRO; s <= plan.ResidentRW; s++ {
		text := &plan.Data{Section: plan.ResidentRW - s, Bytes: []byte("0123456789")}
		a := &plan.Data{Section: s, Size: 24, Align: 8}
		b := &plan.Data{Section: s, Bytes: []byte("12345678"), Align: 8, Relocs: []plan.Reloc{{To: a}}}
		a.Relocs = []plan.Reloc{{Off: 8, To: b}, {Off: 16, To: text, Add: 4}}
		p := plan.Slot(r)
		next := func(off int64) plan.Op {
			return op(plan.Alu, p, num(0), num(math.MaxUint64), num(0), plan.Int(off))
		}
		load := op(plan.Load, p, num(8))
		o := both(t, dump(
			op(plan.Load, plan.RefAt(a, 8), num(8)), load, // a → b → a
			next(16), load, // → text+4
			op(plan.SysWrite, num(1), p, num(3))))
		if o.stdout != "456" || o.exit != 0 {
			t.Errorf("section %d: got %q, exit %d", s, o.stdout, o.exit)
		}
	}
}

// TestLargeTable runs through 10,000 operations, resident ones among them.
func TestLargeTable(t *testing.T) {
	var ops []plan.Op
	for i := range 10_000 {
		o := plan.Op{Call: plan.Alu, Args: []plan.Arg{plan.Slot(r), num(0), num(math.MaxUint64), num(0), num(uint64(i))}, Dst: r}
		o.Resident = i%7 == 0
		ops = append(ops, o)
	}
	if o := both(t, dump(ops...)); slotOf(o, r) != 10_000*9_999/2 || o.exit != 0 {
		t.Errorf("got %d, exit %d", slotOf(o, r), o.exit)
	}
}
