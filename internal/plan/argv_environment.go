package plan

import "golang.org/x/sys/unix"

// The environment that a command line changes, and the directory that PWD names in it.

const (
	variableMost = 64 << 10  // bytes of one variable
	variableRoom = 512 << 10 // of all that are new
)

// copyEnvironment is where changes are made to.
func (d *decider) copyEnvironment() {
	s := &d.said
	d.leaveOn(d.argv().Not)
	s.env = &Data{Section: SetupRW, Size: 8 * (maxPointers + 2), Align: 8, Text: "envp"}
	s.room = &Data{Section: SetupRW, Size: variableRoom, Align: 8, Text: "variables"}
	s.text, s.top = d.newVar("text"), d.newVar("top")
	d.set(s.top, Ref(s.room))
	from, at, p := d.tmp("from"), d.tmp("at"), d.tmp("pointer")
	d.set(from, Slot(VarEnvp))
	d.set(at, Ref(s.env))
	loop := d.here()
	d.op(Load, Slot(from), Num(8)).to(p)
	d.op(Branch, Slot(at), Num(every), RefAt(s.env, 8*(maxPointers-argvMost)), Num(CondLess)).orElse(d.leave)
	d.op(Store, Slot(at), Slot(p), Num(8))
	d.advance(at, 8)
	d.advance(from, 8)
	d.unlessEqual(Slot(p), every, Num(0), loop)
	d.set(VarEnvp, Ref(s.env))
}

// variableName leaves a name that none can have.
func (d *decider) variableName(name Var) {
	n, at, c := d.tmp("n"), d.tmp("at"), d.tmp("byte")
	d.look(Copy, Num(0), Slot(name), Num('='), Num(variableMost/2)).to(n)
	d.ifEqual(Slot(n), every, Num(0), d.leave)
	d.sum(at, name, Slot(n))
	d.op(Load, Slot(at), Num(1)).to(c)
	d.equal(Slot(c), every, Num(0))
}

// compose puts a variable together; its text begins at said.text. Where there is no room
// it goes to full.
func (b *builder) compose(name, value Arg, full Label) {
	s := &b.said
	at, n := b.tmp("at"), b.tmp("n")
	b.op(Branch, Slot(s.top), Num(every), RefAt(s.room, variableRoom-2*variableMost), Num(CondLess)).orElse(full)
	b.set(s.text, Slot(s.top))
	b.op(Copy, Slot(s.text), name, Num(0), Num(variableMost/2)).to(n).orElse(full)
	b.sum(at, s.text, Slot(n))
	b.op(Store, Slot(at), Num('='), Num(1))
	b.advance(at, 1)
	b.op(Copy, Slot(at), value, Num(0), Num(variableMost)).to(n).orElse(full)
	b.add(at, n)
	b.op(Store, Slot(at), Num(0), Num(1))
	b.sum(s.top, at, Num(1))
}

// findVariable finds the one that has the name of said.text: at is where it stands, and
// last where the list ends if there is none.
func (b *builder) findVariable(at Var, found, last Label) {
	s := &b.said
	n, p := b.tmp("n"), b.tmp("pointer")
	b.op(Copy, Num(0), Slot(s.text), Num('='), Num(variableMost)).to(n).orElse(last)
	b.advance(n, 1)
	b.set(at, Ref(s.env))
	loop := b.here()
	b.op(Load, Slot(at), Num(8)).to(p)
	b.ifEqual(Slot(p), every, Num(0), last)
	b.op(Compare, Slot(p), Slot(s.text), Slot(n)).then(found).orElse(Following)
	b.advance(at, 8)
	b.jump(loop)
}

// setVariable puts said.text in the place of the variable of that name, or at the end.
func (b *builder) setVariable(full Label) {
	s := &b.said
	at, found, last, done := b.tmp("at"), b.label(), b.label(), b.label()
	b.findVariable(at, found, last)
	b.mark(found)
	b.op(Store, Slot(at), Slot(s.text), Num(8)).then(done)
	b.mark(last)
	b.op(Branch, Slot(at), Num(every), RefAt(s.env, 8*maxPointers), Num(CondLess)).orElse(full)
	b.op(Store, Slot(at), Slot(s.text), Num(8))
	b.advance(at, 8)
	b.op(Store, Slot(at), Num(0), Num(8))
	b.mark(done)
}

// unsetVariable takes that variable out.
func (b *builder) unsetVariable() {
	at, next, p := b.tmp("at"), b.tmp("from"), b.tmp("pointer")
	found, done := b.label(), b.label()
	b.findVariable(at, found, done)
	b.mark(found)
	b.sum(next, at, Num(8))
	loop := b.here()
	b.op(Load, Slot(next), Num(8)).to(p)
	b.op(Store, Slot(at), Slot(p), Num(8))
	b.advance(at, 8)
	b.advance(next, 8)
	b.unlessEqual(Slot(p), every, Num(0), loop)
	b.mark(done)
}

// startDirectory finds where the command starts: PWD says so. Where the caller's PWD is
// another name of the working directory the program decides.
func (d *decider) startDirectory() {
	s := &d.said
	s.cwd, s.home = buffer("cwd", unix.PathMax), d.newVar("home")
	own, on := d.label(), d.label()
	d.set(s.home, Num(0))
	d.ifEqual(Slot(s.chdir), every, Num(0), own)
	d.compose(d.str("PWD"), Slot(s.chdir), d.leave)
	d.setVariable(d.leave)
	d.jump(on)

	d.mark(own)
	from, p, n, c := d.tmp("from"), d.tmp("pointer"), d.tmp("n"), d.tmp("byte")
	look, found, none := d.label(), d.label(), d.label()
	d.look(SysGetcwd, Ref(s.cwd), Num(unix.PathMax)).to(n)
	d.op(Load, Ref(s.cwd), Num(1)).to(c)
	d.equal(Slot(c), every, Num('/'))
	d.set(from, Slot(d.wholeEnv))
	d.mark(look)
	d.op(Load, Slot(from), Num(8)).to(p)
	d.ifEqual(Slot(p), every, Num(0), none)
	d.advance(from, 8)
	d.op(Compare, Slot(p), d.str("PWD="), Num(4)).orElse(look)
	d.advance(p, 4)
	d.op(Compare, Slot(p), Ref(s.cwd), Slot(n)).then(look).orElse(d.leave)
	d.mark(none)
	d.compose(d.str("PWD"), Ref(s.cwd), d.leave)
	d.setVariable(d.leave)
	d.set(from, Slot(VarEnvp))
	home := d.here()
	d.op(Load, Slot(from), Num(8)).to(p)
	d.ifEqual(Slot(p), every, Num(0), on)
	d.advance(from, 8)
	d.op(Compare, Slot(p), d.str("HOME="), Num(5)).then(found).orElse(home)
	d.mark(found)
	d.advance(p, 5)
	d.op(Load, Slot(p), Num(1)).to(c)
	d.ifEqual(Slot(c), every, Num(0), on)
	d.set(s.home, Slot(p))
	d.mark(on)
}

// enterSaid is enter where the command line says the directory, or it is the caller's: where
// that is not there inside the home, and else the root.
func (b *builder) enterSaid() {
	s := &b.said
	own, home, root, done := b.label(), b.label(), b.label(), b.label()
	b.ifEqual(Slot(s.chdir), every, Num(0), own)
	b.op(SysChdir, Slot(s.chdir)).then(done)
	b.mark(own)
	b.op(SysChdir, Ref(s.cwd)).then(done).orElse(home)
	b.mark(home)
	b.ifEqual(Slot(s.home), every, Num(0), root)
	b.op(SysChdir, Slot(s.home)).orElse(root)
	b.compose(b.str("PWD"), Slot(s.home), 0)
	b.setVariable(0)
	b.jump(done)
	b.mark(root)
	b.op(SysChdir, b.str("/"))
	b.compose(b.str("PWD"), b.str("/"), 0)
	b.setVariable(0)
	b.mark(done)
}
