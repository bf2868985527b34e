package plan

import (
	"golang.org/x/sys/unix"
)

// JoinFileName is the file of a sandbox's record that holds the image to join it with. Where the
// records lie is as package named has it.
const JoinFileName = "join"

// maxJoinImage is the longest image that is read: one of 20 to 40 KB is usual.
const maxJoinImage = 1 << 17

// JoinImageFits tells whether a prelude would read an image.
func JoinImageFits(image []byte) bool { return len(image) > 0 && len(image) < maxJoinImage }

// plainExec carries out `cloche exec NAME [--] CMD` by the image in the sandbox's record, where there
// is one: it looks at the words and at who may have written the record, and executes the
// image from a sealed memory file, which looks at everything else.
func (d *decider) plainExec() {
	d.begin(Step{Process: Launcher, Name: "a plain cloche exec?"})
	name := d.wordsOfExec()
	d.ownIDs()
	d.freeDescriptors()
	dir := d.recordsDir()

	d.begin(Step{Process: Launcher, Name: "the image of the sandbox's record"})
	store, entry, n := d.extra[0], d.extra[1], d.tmp("n")
	d.look(SysOpenat, atFDCWD, Slot(dir), named("O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC), Num(0)).to(store)
	d.callersAlone(store)
	below := func(dir Var, name, how Arg) opRef { return d.look(SysOpenat2, Slot(dir), name, how, Num(24)) }
	below(store, Slot(name), Ref(howOwnDir)).to(entry)
	d.callersAlone(entry)
	below(entry, d.str(JoinFileName), Ref(howOwnFile)).to(d.file)
	image := &Data{Section: SetupRW, Size: maxJoinImage, Align: 8, Text: "image"}
	d.look(SysRead, Slot(d.file), Ref(image), Num(maxJoinImage)).to(n)
	d.close()
	d.closeExtra()
	d.op(Branch, Slot(n), Num(^uint64(0)), Num(64), Num(CondGreater)).orElse(d.leave)
	d.op(Branch, Slot(n), Num(^uint64(0)), Num(maxJoinImage), Num(CondLess)).orElse(d.leave)
	d.begin(Step{Process: Launcher, Name: "execute it from a sealed memory file"})
	d.sealed(Ref(image), Slot(n))
}

// The open_how of a record and of its image, as package state has them.
var (
	howOwnDir = words("{flags=O_RDONLY|O_DIRECTORY|O_CLOEXEC, resolve=RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_XDEV}",
		unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
	howOwnFile = words("{flags=O_RDONLY|O_CLOEXEC|O_NONBLOCK, resolve=RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_XDEV}",
		unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
)

// wordsOfExec looks for `exec NAME CMD` and `exec NAME -- CMD`, and finds the name.
func (d *decider) wordsOfExec() (name Var) {
	at, p, first, n := d.tmp("at"), d.tmp("pointer"), d.tmp("byte"), d.tmp("n")
	all, dashes, end := Num(^uint64(0)), d.label(), d.label()
	name = d.newVar("name")
	word := func() {
		d.advance(at, 8)
		d.op(Load, Slot(at), Num(8)).to(p)
		d.op(Load, Slot(p), Num(1)).to(first)
		d.ifEqual(Slot(first), all.value, Num(0), d.leave)
	}
	d.op(Branch, Slot(VarArgc), all, Num(3), Num(CondGreater)).orElse(d.leave)
	d.set(at, Slot(VarArgv))
	d.advance(at, 8) // past "exec"
	word()
	d.set(name, Slot(p))
	d.ifEqual(Slot(first), all.value, Num('-'), d.leave) // a flag
	d.ifEqual(Slot(first), all.value, Num('.'), d.leave)
	d.look(Copy, Num(0), Slot(p), Num('/'), Num(unix.NAME_MAX)).to(n)
	d.op(Alu, Slot(p), Num(0), all, Num(0), Slot(n)).to(p)
	d.op(Load, Slot(p), Num(1)).to(first)
	d.equal(Slot(first), all.value, Num(0))
	word()
	d.op(Compare, Slot(p), d.str("--"), Num(3)).then(dashes).orElse(Following)
	d.ifEqual(Slot(first), all.value, Num('-'), d.leave)
	d.jump(end)
	d.mark(dashes)
	d.op(Branch, Slot(VarArgc), all, Num(4), Num(CondGreater)).orElse(d.leave)
	word()
	d.mark(end)
	return name
}

// recordsDir finds where the caller's records lie.
func (d *decider) recordsDir() (dir Var) {
	all := Num(^uint64(0))
	from, p, n, c, run := d.tmp("from"), d.tmp("pointer"), d.tmp("n"), d.tmp("byte"), d.newVar("runtime directory")
	path := &Data{Section: SetupRW, Size: unix.PathMax + 16, Align: 8, Text: "records"}
	dir = d.newVar("directory")
	isDir, isRun, end, root, found := d.label(), d.label(), d.label(), d.label(), d.label()
	// A value that is empty is none, and one that is no whole path the program judges. So it does
	// where a name comes twice.
	value := func(v Var, name string) {
		d.unlessEqual(Slot(v), all.value, Num(0), d.leave)
		d.advance(p, uint64(len(name)+1))
		d.op(Load, Slot(p), Num(1)).to(c)
		d.equal(Slot(c), all.value, Num('/'))
		d.set(v, Slot(p))
	}
	d.set(dir, Num(0))
	d.set(run, Num(0))
	d.set(from, Slot(VarEnvp))
	loop := d.here()
	d.op(Load, Slot(from), Num(8)).to(p)
	d.ifEqual(Slot(p), all.value, Num(0), end)
	d.advance(from, 8)
	d.op(Compare, Slot(p), d.str(ExplainVariable+"="), Num(uint64(len(ExplainVariable)+1))).then(d.leave).orElse(Following)
	d.op(Compare, Slot(p), d.str(recordsVariable+"="), Num(uint64(len(recordsVariable)+1))).then(isDir).orElse(Following)
	d.op(Compare, Slot(p), d.str(runtimeVariable+"="), Num(uint64(len(runtimeVariable)+1))).then(isRun).orElse(loop)
	d.mark(isDir)
	value(dir, recordsVariable)
	d.jump(loop)
	d.mark(isRun)
	value(run, runtimeVariable)
	d.jump(loop)
	d.mark(end)
	// The program that does it where the image can't gets all of it, see explainEnvironment.
	d.op(Alu, Slot(VarEnvp), Num(0), all, Num(0), Num(8*maxPointers)).to(n)
	d.op(Branch, Slot(from), all, Slot(n), Num(CondLess)).orElse(d.leave)
	clean := func(v Var) {
		// As it is when it is cleaned: no link at its end is followed.
		next := d.label()
		d.set(p, Slot(v))
		d.mark(next)
		d.advance(p, 1)
		for _, bad := range [...]string{"/", ".", "\x00"} {
			d.op(Compare, Slot(p), d.bytes(bad), Num(1)).then(d.leave).orElse(Following)
		}
		d.look(Copy, Num(0), Slot(p), Num('/'), Num(unix.PathMax)).to(n)
		d.op(Alu, Slot(p), Num(0), all, Num(0), Slot(n)).to(p)
		d.op(Load, Slot(p), Num(1)).to(c)
		d.unlessEqual(Slot(c), all.value, Num(0), next)
	}
	unset := d.label()
	d.ifEqual(Slot(dir), all.value, Num(0), unset)
	clean(dir)
	d.jump(found)
	d.mark(unset)
	d.ifEqual(Slot(d.uid), all.value, Num(0), root)
	d.ifEqual(Slot(run), all.value, Num(0), d.leave)
	clean(run)
	d.look(Copy, Ref(path), Slot(run), Num(0), Num(unix.PathMax)).to(n)
	d.op(Alu, Ref(path), Num(0), all, Num(0), Slot(n)).to(n)
	d.op(Store, Slot(n), short("/cloche"), Num(8))
	d.set(dir, Ref(path))
	d.jump(found)
	d.mark(root)
	d.set(dir, d.str("/run/cloche"))
	d.mark(found)
	return dir
}

// The variables that say where records lie, see package named.
const (
	recordsVariable = "CLOCHE_STATE_DIR"
	runtimeVariable = "XDG_RUNTIME_DIR"
)

// callersAlone leaves where others than the caller own a directory, or may write to it.
func (d *decider) callersAlone(dir Var) {
	const uidAt, modeAt = 20, 28
	n := d.tmp("n")
	d.look(SysStatx, Slot(dir), d.str(""), Flags(cEmptyPath), named("STATX_BASIC_STATS", statxBasic), Ref(d.statx))
	d.op(Load, RefAt(d.statx, uidAt), Num(4)).to(n)
	d.equal(Slot(n), ^uint64(0), Slot(d.uid))
	d.op(Load, RefAt(d.statx, modeAt), Num(2)).to(n)
	d.equal(Slot(n), 0o022, Num(0))
}

func (d *decider) closeExtra() {
	for _, v := range d.extra {
		d.op(SysClose, Slot(v)).ignoring()
		d.set(v, Int(-1))
	}
}
