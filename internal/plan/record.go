package plan

// A status record is what the image writes to the pipe of its supervisor:
// four numbers of four bytes, little-endian, in one write(2), which a pipe
// keeps whole.
const recordSize = 16

// RecordSize is the length of a status record in bytes.
const RecordSize = recordSize

// RecordKind is a record's first number; the others depend on it.
type RecordKind uint32

// The kinds of records.
const (
	RecordPID     RecordKind = 1 // pid of pid 1 as the launcher sees it
	RecordReady   RecordKind = 2 // all is set up: what follows is the filter and the last exec
	RecordFailed  RecordKind = 3 // index of the operation, errno
	RecordExited  RecordKind = 4 // wait status of the command
	RecordStopped RecordKind = 5 // signal that stopped the command (terminal only)
	RecordIDMaps  RecordKind = 6 // pid 1 waits for its id maps to be written
	RecordStarted RecordKind = 7 // the command's exec has succeeded, or failed and said so before; with a listener: the command's pid inside
	// Of a container: the supervisor does its part and answers, see Container.
	RecordAdopt      RecordKind = 8  // pid 1 waits to be put in its cgroup
	RecordCopyUp     RecordKind = 9  // two descriptors were sent: a directory and the file system that gets its content
	RecordHooks      RecordKind = 10 // all is mounted, and the root is still that of the host
	RecordLimits     RecordKind = 11 // pid 1 waits for the resource limits that it may not set itself
	RecordMade       RecordKind = 12 // what create does is done: the supervisor keeps the container
	RecordSent       RecordKind = 13 // a descriptor was sent: the terminal's master, or the filter's listener
	RecordNetDevices RecordKind = 14 // pid 1 is in its network namespace, and waits for its interfaces
)

// send writes a record of kind with up to two more numbers.
func (b *builder) send(kind RecordKind, more ...Arg) {
	if b.builds() {
		return // nobody reads it
	}
	b.op(Store, Ref(b.rec), Num(uint64(kind)), Num(4))
	for i, a := range more {
		b.op(Store, RefAt(b.rec, 4+4*i), a, Num(4))
	}
	b.op(SysWrite, Num(uint64(b.in.StatusFD)), Ref(b.rec), Num(recordSize)).ignoring()
}

// reportFatal is where every operation that fails unexpectedly ends, in
// whichever process: it tells the supervisor which one and why, and exits.
func (b *builder) reportFatal() {
	if b.builds() {
		b.reportInWords()
		return
	}
	b.begin(Step{Process: Init, Name: "report a failure"})
	b.resident = true
	b.mark(b.fatal)
	b.send(RecordFailed, Slot(VarFailedOp), Slot(VarFailedErrno))
	b.op(SysExitGroup, Num(125))
	b.resident = false
}
