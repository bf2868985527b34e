package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// builder collects operations.
type builder struct {
	in *Input
	arrangement
	p        *Plan
	args     []Arg  // one array for the arguments of many operations
	spare    []Data // and one for their data
	step     int
	labels   Label
	vars     Var
	pending  Label // marks the next operation
	resident bool

	// Values that several steps share.
	scratch    Var // fd of the tmpfs that everything made here lives in
	root       Var // fd of the new root
	child      Var // pid of the command, in pid 1
	childGroup Var // its process group as kill(2) wants it: negative
	master     Var // the terminal's master
	slave      Var
	fatal      Label
	rec        *Data // status record
	oldMask    *Data
	pollFDs    *Data // what pid 1 waits for: the supervisor's end, signals
	statx      *Data
	mask       Var // fd of the masks' mount
	umask      Var // the caller's
	outside    Var // what the supervisor's pid is inside: 0, or real without a pid namespace
	sigfd      Var
	listener   Var // number that the listener has, see Notify
	execRead   Var // pipe whose end of file tells of the command's exec
	execWrite  Var
	parent     Label // where pid 1 goes on after making the command

	whole Var   // in place: argv as `cloche run` was given it
	asked Label // in place: where the launcher's own failures go

	overtime Var // in place, with time limits: what is added to the report once one is over, see ToldBase

	wholeEnv  Var   // prelude: the environment, the same
	cwd       *Data // prelude: the caller's working directory
	cwdStat   *Data
	cgroupDir *Data // prelude: the caller's cgroup
	mayMake   Var   // prelude: whether it may make one there

	seq      sequence   // of acts, in place of mounts
	said     said       // what a command line says that the image reads
	argvActs *Data      // and the acts of it
	hostRoot *Data      // the same: the host's root, as statx(2) has it
	beside   beside     // with a Manner
	remounts remounting // for kernels without mount_setattr

	join     *Join // nil: the command gets a sandbox of its own
	joinFD   joinFDs
	joinText *Data // what an image reads to compare it

	netns, netMaker Var // the network namespace's descriptor, and who makes it

	uid, gid Var   // standalone: the caller's
	e2big    Label // standalone: too many arguments
	cpuFD    Var   // launcher that stays: file that tells the cgroup's CPU time
	group    Var   // standalone: cgroup directory's descriptor
	entry    Var   // standalone: the file to enter it by

	ownCgroup    bool // standalone: the launcher makes the cgroup
	cgroupName   *Data
	cgroupParent Var

	ownRoot     bool // the root is a directory of the scratch
	haveMasks   bool
	scratchDirs int
	made        map[string]bool // directories made below the root
	pinned      map[string]bool // directories that are mounts of themselves
	devs        int             // fresh /dev so far
}

func newBuilder(in *Input) *builder {
	b := &builder{
		in:          in,
		arrangement: arrangement{policy: in.Policy, facts: in.Facts.Paths},
		p: &Plan{
			GOARCH: in.Facts.GOARCH,
			Policy: in.Policy,
			Ops:    make([]Op, 0, 300+12*len(in.Policy.Mounts)+20*len(in.Sequence)),
			Steps:  make([]Step, 0, 64),
		},
		vars: FirstFreeVar,
	}
	b.p.VarNames = append(b.p.VarNames, "", "ops", "entry", "argc", "argv", "envp", "failed", "errno", "handler")
	b.fatal = b.label()
	b.p.OnFatal = b.fatal
	b.rec = &Data{Section: ResidentRW, Size: recordSize, Align: 8, Text: "record"}
	b.oldMask = &Data{Section: SetupRW, Size: 8, Align: 8, Text: "oldmask"}
	b.statx = &Data{Section: SetupRW, Size: 256, Align: 8, Text: "statx"}
	b.pollFDs = &Data{Section: ResidentRW, Bytes: make([]byte, 16), Align: 8, Text: "[{status}, {signals, POLLIN}]"}
	binary.LittleEndian.PutUint32(b.pollFDs.Bytes, uint32(in.StatusFD))
	b.pollFDs.Bytes[12] = unix.POLLIN
	b.child = b.newVar("command")
	b.scratch = b.newVar("scratch")
	b.root = b.newVar("root")
	b.umask = b.newVar("umask")
	b.outside = b.newVar("supervisor")
	b.sigfd = b.newVar("signals")
	b.parent = b.label()
	return b
}

// begin starts a step; the operations that follow belong to it.
func (b *builder) begin(s Step) {
	b.p.Steps = append(b.p.Steps, s)
	b.step = len(b.p.Steps) - 1
}

// newVar makes a slot. Slots are few: a value that lives only within one step
// is put in a temporary one with tmp.
func (b *builder) newVar(name string) Var {
	v := b.vars
	b.vars++
	b.p.VarNames = append(b.p.VarNames, name)
	return v
}

func (b *builder) label() Label {
	b.labels++
	return b.labels
}

// mark gives the next operation the label l. An operation has one label; a
// second one is carried by an operation that does nothing.
func (b *builder) mark(l Label) {
	if b.pending != 0 {
		b.set(Void, Num(0))
	}
	b.pending = l
}

// here is a label of the next operation.
func (b *builder) here() Label {
	if b.pending == 0 {
		b.pending = b.label()
	}
	return b.pending
}

// opRef is an operation being described.
type opRef struct {
	b *builder
	i int
}

// op adds an operation. Without more said, its result is dropped, an error is
// fatal, and the next operation follows.
func (b *builder) op(call Call, args ...Arg) opRef {
	if len(b.args)+len(args) > cap(b.args) {
		b.args = make([]Arg, 0, 512) // the operations keep the old one
	}
	n := len(b.args)
	b.args = append(b.args, args...)
	b.p.Ops = append(b.p.Ops, Op{
		Call: call, Args: b.args[n:len(b.args):len(b.args)],
		Mark: b.pending, Step: b.step, Resident: b.resident,
	})
	b.pending = 0
	return opRef{b, len(b.p.Ops) - 1}
}

func (r opRef) get() *Op { return &r.b.p.Ops[r.i] }

// to keeps the result in v.
func (r opRef) to(v Var) opRef { r.get().Dst = v; return r }

// ignoring goes on after any error.
func (r opRef) ignoring() opRef { r.get().IgnoreErr = true; return r }

// on goes to l when the error is errno.
func (r opRef) on(errno int, l Label) opRef {
	o := r.get()
	o.Errno, o.OnErrno = uint16(errno), l
	return r
}

// orElse goes to l on every error that has no way of its own.
func (r opRef) orElse(l Label) opRef { r.get().OnErr = l; return r }

// then goes to l on success.
func (r opRef) then(l Label) opRef { r.get().OnOK = l; return r }

// retryOn repeats the operation when the error is errno.
func (r opRef) retryOn(errno int) opRef {
	o := r.get()
	if o.Mark == 0 {
		o.Mark = r.b.label()
	}
	return r.on(errno, o.Mark)
}

// jump goes to l.
func (b *builder) jump(l Label) opRef {
	return b.op(Branch, Num(0), Num(0), Num(0), Num(CondEqual)).then(l)
}

// set puts a in v.
func (b *builder) set(v Var, a Arg) opRef {
	return b.op(Alu, a, Num(0), Num(^uint64(0)), Num(0), Num(0)).to(v)
}

// ifEqual goes to l when a&mask == c, else on.
func (b *builder) ifEqual(a Arg, mask uint64, c Arg, l Label) {
	b.op(Branch, a, Num(mask), c, Num(CondEqual)).then(l).orElse(Following)
}

// unlessEqual goes to l when a&mask != c, else on.
func (b *builder) unlessEqual(a Arg, mask uint64, c Arg, l Label) {
	b.op(Branch, a, Num(mask), c, Num(CondEqual)).orElse(l)
}

// str is a NUL-terminated string.
func (b *builder) str(s string) Arg {
	if s == "" {
		return Ref(emptyString)
	}
	d := b.data()
	d.CString = s
	return Ref(d)
}

var emptyString = &Data{Bytes: []byte{0}}

// data is a new Data; they are made a few dozen at a time.
func (b *builder) data() *Data {
	if len(b.spare) == 0 {
		b.spare = make([]Data, 64)
	}
	d := &b.spare[0]
	b.spare = b.spare[1:]
	return d
}

// words is a structure of eight-byte fields with a text that is made when it is read.
func (b *builder) words(show func(*Data) string, w ...uint64) *Data {
	d := b.data()
	d.Bytes, d.Align, d.Show = wordBytes(w), 8, show
	return d
}

func wordBytes(w []uint64) []byte {
	bytes := make([]byte, 8*len(w))
	for i, v := range w {
		binary.LittleEndian.PutUint64(bytes[8*i:], v)
	}
	return bytes
}

// word is the i-th eight-byte field of d.
func (d *Data) word(i int) uint64 { return binary.LittleEndian.Uint64(d.Bytes[8*i:]) }

// words is a structure of eight-byte fields.
func words(text string, w ...uint64) *Data {
	return &Data{Bytes: wordBytes(w), Align: 8, Text: text}
}

// buffer is zeroed memory for set-up.
func buffer(name string, n int) *Data {
	return &Data{Section: SetupRW, Size: n, Align: 8, Text: name}
}

// tmp is a slot for a value that lives within one step only.
func (b *builder) tmp(name string) Var {
	for v, n := range b.p.VarNames {
		if Var(v) >= FirstFreeVar && n == name {
			return Var(v)
		}
	}
	return b.newVar(name)
}
