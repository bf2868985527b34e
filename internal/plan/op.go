package plan

// The symbolic form of what the launcher image will do. An Op is one system
// call, or one of the few pseudo-operations of the interpreter; its arguments
// still know their names, so that the same value is assembled by
// internal/launcher and printed by `cloche plan`.

// Var is a slot of the image: a number that one operation leaves for later ones,
// such as a file descriptor. The first slots have fixed meanings.
type Var uint8

// The slots with a fixed meaning, shared with internal/launcher's interpreters.
const (
	Void     Var = iota // results nobody wants
	VarOps              // address of the operation table
	VarEntry            // address of the first operation
	VarArgc             // argc, argv and envp as the kernel put them on the stack
	VarArgv
	VarEnvp
	VarFailedOp    // after a fatal error: index of the operation
	VarFailedErrno // and its errno, positive
	VarOnFatal     // index of the operation that reports a fatal error
	FirstFreeVar

	MaxVars = 128
)

// Label is a place in the operation list that a jump can name.
type Label int16

// The labels that mark no operation.
const (
	Next      Label = 0  // the operation after this one; as OnErr: fatal
	Following Label = -1 // the operation after this one, also as OnErr
)

// Op is one operation.
type Op struct {
	Call Call
	Args []Arg
	Dst  Var // receives the result

	// Where to go on. Errno is one error with a way of its own (OnErrno); every
	// other error goes to OnErr. A zero OnErr is fatal, not Next: an error that
	// nobody thought of ends the set-up, by way of VarOnFatal.
	Errno     uint16
	OnErrno   Label
	OnErr     Label
	IgnoreErr bool // every error goes on as OnOK says
	OnOK      Label

	Mark     Label // the label that names this operation; 0: none
	Step     int   // index into Plan.Steps
	Resident bool  // still needed when set-up is over: part of pid 1's loop
}

// Arg is one argument of an operation.
type Arg struct {
	kind  argKind
	flags [11]Const // what the number is the bitwise or of; ends with a 0
	off   uint32
	value uint64
	data  *Data
	name  string // of a number that is one constant
}

type argKind uint8

const (
	argNumber argKind = iota
	argVar
	argData
	argLabel
	argRegion
	argMode
)

// Num is a plain number.
func Num(v uint64) Arg { return Arg{value: v} }

// Int is a plain number that may be negative, such as AT_FDCWD or a signal target.
func Int(v int64) Arg { return Arg{value: uint64(v)} }

// Flags is the bitwise or of named constants, at most as many as an Arg holds.
func Flags(c ...Const) (a Arg) {
	copy(a.flags[:], c)
	for _, f := range c {
		a.value |= constants[f].value
	}
	return a
}

// Slot is the content of v when the operation runs.
func Slot(v Var) Arg { return Arg{kind: argVar, value: uint64(v)} }

// Ref is the address of d inside the image.
func Ref(d *Data) Arg { return Arg{kind: argData, data: d} }

// RefAt is the address of the byte at off in d.
func RefAt(d *Data, off int) Arg { return Arg{kind: argData, data: d, off: uint32(off)} }

// Target is the index of the operation that l marks, as a number.
func Target(l Label) Arg { return Arg{kind: argLabel, value: uint64(l)} }

// Region is a number that only the assembler knows: where the image lies, and the
// part of it that is not needed once set-up is over.
type Region uint8

// The regions, each an address and a length, in bytes.
const (
	SetupROAddress Region = iota
	SetupROLength
	SetupRWAddress
	SetupRWLength
	ImageAddress // all of the image as its file has it
	ImageLength
)

// RegionArg is the number that r stands for.
func RegionArg(r Region) Arg { return Arg{kind: argRegion, value: uint64(r)} }

// Accessors for internal/launcher.

// IsVar reports whether the argument is read from a slot, and which.
func (a Arg) IsVar() (Var, bool) { return Var(a.value), a.kind == argVar }

// IsData reports whether the argument is an address in the image.
func (a Arg) IsData() (*Data, uint32, bool) { return a.data, a.off, a.kind == argData }

// IsTarget reports whether the argument is an operation's index.
func (a Arg) IsTarget() (Label, bool) { return Label(a.value), a.kind == argLabel }

// IsRegion reports whether the argument is a number of the image's layout.
func (a Arg) IsRegion() (Region, bool) { return Region(a.value), a.kind == argRegion }

// Value is the number of an argument that is neither.
func (a Arg) Value() uint64 { return a.value }

// Section says where in the image Data lies.
type Section uint8

// The sections. What only set-up needs is given back to the kernel when pid 1
// settles down (munmap), so the memory of a waiting sandbox is Resident alone.
const (
	SetupRO    Section = iota // read-only, gone after set-up
	SetupRW                   // zeroed or initialised, writable, gone after set-up
	ResidentRO                // read-only, for as long as pid 1 lives
	ResidentRW                // writable, for as long as pid 1 lives
)

// Data is a run of bytes in the image.
type Data struct {
	Section Section
	Align   uint32 // 0 is 1
	Size    int    // length when larger than the content
	Bytes   []byte // initial content; nil with Size > 0 is zeroes
	CString string // initial content instead of Bytes: a string that is not empty, and its NUL
	Relocs  []Reloc
	Text    string             // as strace would print it; empty: Show's, else the content as a quoted string
	Show    func(*Data) string // makes the text when somebody reads it
}

// Reloc puts the address of To+Add as eight bytes at Off.
type Reloc struct {
	Off int
	To  *Data
	Add int
}

// Len is the number of bytes d takes in the image.
func (d *Data) Len() int {
	if d.CString != "" {
		return max(len(d.CString)+1, d.Size)
	}
	return max(len(d.Bytes), d.Size)
}
