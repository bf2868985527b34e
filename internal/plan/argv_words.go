package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// An act as a command line notes it: words of eight bytes.
const (
	argvWords = 5 // kind; address of the source; of the destination; mode, or 1 for one that may be missing; attributes, or the mode of parents
	argvSize  = 8 * argvWords
	argvMost  = 256
)

// plainWords leaves where a word is none of the options, or there is no command.
func (d *decider) plainWords(a *Argv) {
	d.leaveOn(a.Not)
	at, p := d.tmp("word"), d.tmp("pointer")
	loop, command := d.label(), d.label()
	skips := [3]Label{loop, d.label(), d.label()}
	d.nextWord(a, at, loop, command, func(o int) Label { return skips[a.Options[o].Words] })
	for n := 2; n > 0; n-- {
		d.mark(skips[n])
		d.op(Load, Slot(at), Num(8)).to(p)
		d.ifEqual(Slot(p), every, Num(0), d.leave)
		d.advance(at, 8)
	}
	d.jump(loop)
	d.mark(command)
}

// nextWord begins the loop over the words: an option's goes on where does says, with at behind it, and the first that is none
// at command, with at there. It leaves at any other option, and where there is no command.
func (d *decider) nextWord(a *Argv, at Var, loop, command Label, does func(option int) Label) {
	p, first, dashes := d.tmp("pointer"), d.tmp("byte"), d.label()
	word := func() {
		d.op(Load, Slot(at), Num(8)).to(p)
		d.ifEqual(Slot(p), every, Num(0), d.leave)
		d.op(Load, Slot(p), Num(1)).to(first)
		d.ifEqual(Slot(first), every, Num(0), d.leave)
	}
	d.set(at, Slot(VarArgv))
	d.advance(at, 8)
	d.mark(loop)
	word()
	d.unlessEqual(Slot(first), every, Num('-'), command)
	d.advance(at, 8)
	for i := range a.Options {
		name := a.Options[i].Name
		d.op(Compare, Slot(p), d.str(name), Num(uint64(len(name)+1))).then(does(i)).orElse(Following)
	}
	d.op(Compare, Slot(p), d.str("--"), Num(3)).then(dashes).orElse(d.leave)
	d.mark(dashes)
	word()
	d.jump(command)
}

// leaveOn leaves where the environment has one of these variables, or the report that
// this process is there to explain a failure.
func (d *decider) leaveOn(names []string) {
	from, p, end := d.tmp("from"), d.tmp("pointer"), d.label()
	d.set(from, Slot(VarEnvp))
	loop := d.here()
	d.op(Load, Slot(from), Num(8)).to(p)
	d.ifEqual(Slot(p), every, Num(0), end)
	d.advance(from, 8)
	for _, n := range append([]string{ExplainVariable}, names...) {
		d.op(Compare, Slot(p), d.str(n+"="), Num(uint64(len(n)+1))).then(d.leave).orElse(Following)
	}
	d.jump(loop)
	d.mark(end)
}

// words carries out what settings say, and notes acts, up to the command.
func (d *decider) words() {
	s, a := &d.said, d.argv()
	for _, v := range []struct {
		v    *Var
		name string
		at   Arg
	}{
		{&s.user, "user namespace", Num(0)},
		{&s.ipc, "ipc namespace", Num(0)},
		{&s.uts, "uts namespace", Num(0)},
		{&s.pid, "pid namespace", Num(0)},
		{&s.net, "network namespace", Num(0)},
		{&s.cgroup, "cgroup namespace", Num(0)},
		{&s.flags, "flags", Num(0)},
		{&s.session, "session", Num(0)},
		{&s.dies, "dies", Num(0)},
		{&s.bare, "bare", Num(0)},
		{&s.keep, "keep", Num(0)},
		{&s.mask, "mask", Num(0)},
		{&s.chdir, "chdir", Num(0)},
		{&s.mode, "mode", Num(0o755)},
		{&s.parents, "parents", Num(0o755)},
		{&s.put, "put", Ref(d.acts())},
		{&s.dev, "dev", Num(0)},
		{&s.rootTree, "host", Num(0)},
	} {
		*v.v = d.newVar(v.name)
		d.set(*v.v, v.at)
	}
	at := d.newVar("word")
	words := [2]Var{d.newVar("first"), d.newVar("second")}
	loop, note, command := d.label(), d.label(), d.label()
	does := make([]Label, len(a.Options))
	for i := range does {
		does[i] = d.label()
	}
	d.nextWord(a, at, loop, command, func(o int) Label { return does[o] })
	for i := range a.Options {
		o := &a.Options[i]
		d.mark(does[i])
		for k := range o.Words {
			d.op(Load, Slot(at), Num(8)).to(words[k])
			d.ifEqual(Slot(words[k]), every, Num(0), d.leave)
			d.advance(at, 8)
		}
		next := loop
		if d.option(o, words, at) {
			next = note
		}
		d.jump(next)
	}
	d.mark(note)
	d.noteAct()
	d.jump(loop)
	d.mark(command)
	d.set(VarArgv, Slot(at))
}

// acts is where they are noted.
func (b *builder) acts() *Data {
	if b.argvActs == nil {
		b.argvActs = buffer("acts", argvSize*argvMost)
	}
	return b.argvActs
}

// option does what one says; an act it prepares to be noted.
func (d *decider) option(o *ArgvOption, words [2]Var, at Var) (act bool) {
	s := &d.said
	switch o.Effect {
	case EffectAct:
		d.prepareAct(&o.Act, words)
		return true
	case EffectUnshare:
		d.noteUnshare(&o.Unshare)
	case EffectShareNet:
		d.set(s.net, Num(0))
	case EffectNewSession:
		d.set(s.session, Num(1))
	case EffectDieWithParent:
		d.set(s.dies, Num(1))
	case EffectDropCapabilities:
		d.same(Slot(words[0]), d.str("ALL"), 4)
		d.set(s.bare, Num(1))
	case EffectChdir:
		d.equal(Slot(s.chdir), every, Num(0)) // of a second one the program warns
		d.set(s.chdir, Slot(words[0]))
	case EffectSetenv:
		d.variableName(words[0])
		d.compose(Slot(words[0]), Slot(words[1]), d.leave)
		d.setVariable(d.leave)
	case EffectUnsetenv:
		d.variableName(words[0])
		d.compose(Slot(words[0]), d.str(""), d.leave)
		d.unsetVariable()
	case EffectClearenv:
		d.op(Store, Ref(s.env), Num(0), Num(8))
	case EffectMode:
		d.noteMode(words[0], at)
	}
	return false
}

func (d *decider) noteUnshare(n *policy.Namespaces) {
	s := &d.said
	for _, u := range [...]struct {
		asked bool
		v     Var
		flag  Const
	}{{n.User, s.user, cNewUser}, {n.IPC, s.ipc, cNewIPC}, {n.UTS, s.uts, cNewUTS}, {n.PID, s.pid, cNewPID}, {n.Net, s.net, cNewNet}, {n.Cgroup, s.cgroup, cNewCgroup}} {
		if u.asked {
			d.set(u.v, Flags(u.flag))
		}
	}
}

// noteMode reads a mode. What it is for has to follow.
func (d *decider) noteMode(word, at Var) {
	s := &d.said
	p, c, follows := d.tmp("pointer"), d.tmp("byte"), d.label()
	d.op(Load, Slot(at), Num(8)).to(p)
	d.ifEqual(Slot(p), every, Num(0), d.leave)
	for i := range d.argv().Options {
		o := &d.argv().Options[i]
		if o.Effect == EffectAct && (o.Act.Kind == ActDir || o.Act.Kind == ActTmpfs) {
			d.op(Compare, Slot(p), d.str(o.Name), Num(uint64(len(o.Name)+1))).then(follows).orElse(Following)
		}
	}
	d.jump(d.leave)
	d.mark(follows)
	d.set(s.mode, Num(0))
	digit := d.label()
	d.set(p, Slot(word))
	d.op(Load, Slot(p), Num(1)).to(c)
	d.mark(digit)
	d.op(Branch, Slot(c), Num(every), Num('0'-1), Num(CondGreater)).orElse(d.leave)
	d.op(Branch, Slot(c), Num(every), Num('8'), Num(CondLess)).orElse(d.leave)
	d.op(Alu, Slot(c), Num(0), Num(7), Num(0), Num(0)).to(c)
	d.op(Alu, Slot(s.mode), Num(0), Num(every), Num(3), Slot(c)).to(s.mode)
	d.op(Branch, Slot(s.mode), Num(every), Num(0o10000), Num(CondLess)).orElse(d.leave)
	d.advance(p, 1)
	d.op(Load, Slot(p), Num(1)).to(c)
	d.unlessEqual(Slot(c), every, Num(0), digit)
	// Whom it is closed to, the directories on the way are closed to as well.
	group, others := d.label(), d.label()
	d.unlessEqual(Slot(s.mode), 0o070, Num(0), group)
	d.advance(s.parents, ^uint64(0o050)+1)
	d.mark(group)
	d.unlessEqual(Slot(s.mode), 0o007, Num(0), others)
	d.advance(s.parents, ^uint64(0o005)+1)
	d.mark(others)
}

// actSlots are the words of an act.
func (b *builder) actSlots() (v [argvWords]Var) {
	for i, name := range [argvWords]string{"kind", "source's name", "destination", "mode of it", "more of it"} {
		v[i] = b.tmp(name)
	}
	return v
}

// prepareAct puts the words of an act together.
func (d *decider) prepareAct(a *Act, words [2]Var) {
	s := &d.said
	v := [argvWords]Arg{Num(uint64(a.Kind)), Num(0), Slot(words[0]), Num(0), Num(0o755)}
	switch a.Kind {
	case ActBind:
		if a.Optional {
			v[3] = Num(1)
		}
		v[1], v[2], v[4] = Slot(words[0]), Slot(words[1]), Ref(d.bindAttr(a))
		d.hostName(words[0])
	case ActSymlink:
		v[1], v[2] = Slot(words[0]), Slot(words[1])
	case ActTmpfs, ActDir:
		v[3], v[4] = Slot(s.mode), Slot(s.parents)
	case ActDev:
		d.unlessEqual(Slot(s.dev), every, Num(0), d.leave)
		d.set(s.dev, Num(1))
	}
	for i, slot := range d.actSlots() {
		d.set(slot, v[i])
	}
	if a.Kind == ActTmpfs || a.Kind == ActDir {
		d.set(s.mode, Num(0o755))
		d.set(s.parents, Num(0o755))
	}
}

// noteAct writes an act down for pid 1.
func (d *decider) noteAct() {
	s, slots := &d.said, d.actSlots()
	d.cleanName(slots[2])
	d.op(Branch, Slot(s.put), Num(every), RefAt(d.acts(), argvSize*argvMost), Num(CondLess)).orElse(d.leave)
	for _, v := range slots {
		d.op(Store, Slot(s.put), Slot(v), Num(8))
		d.advance(s.put, 8)
	}
}

// bindAttr is what a tree that is shown is limited to, see limitTree.
func (b *builder) bindAttr(a *Act) *Data {
	attrs := []Const{cAttrNosuid}
	if !a.Devices {
		attrs = append(attrs, cAttrNodev)
	}
	if !a.ReadOnly {
		return b.words(showAttr, Flags(attrs...).value, 0, 0, 0)
	}
	return b.words(showPrivateAttr, Flags(append(attrs, cAttrRdonly)...).value, 0, unix.MS_PRIVATE, 0)
}

// hostName leaves a source that is not absolute, that may lie in /proc, or that is the host's whole tree a
// second time.
func (d *decider) hostName(p Var) {
	c, on := d.tmp("byte"), d.label()
	d.op(Load, Slot(p), Num(1)).to(c)
	d.equal(Slot(c), every, Num('/'))
	d.op(Compare, Slot(p), d.str("/proc"), Num(5)).then(d.leave).orElse(Following)
	d.op(Compare, Slot(p), d.str("/"), Num(2)).orElse(on)
	d.unlessEqual(Slot(d.said.rootTree), every, Num(0), d.leave)
	d.set(d.said.rootTree, Num(1))
	d.mark(on)
}

// cleanName leaves a destination that is not absolute and clean.
func (d *decider) cleanName(p Var) {
	at, n, c, first := d.tmp("at"), d.tmp("n"), d.tmp("byte"), d.tmp("first byte")
	loop, part, done := d.label(), d.label(), d.label()
	d.op(Load, Slot(p), Num(1)).to(c)
	d.equal(Slot(c), every, Num('/'))
	d.op(Compare, Slot(p), d.str("/"), Num(2)).then(done).orElse(Following)
	d.set(at, Slot(p))
	d.mark(loop)
	d.advance(at, 1)
	d.look(Copy, Num(0), Slot(at), Num('/'), Num(unix.NAME_MAX)).to(n)
	d.ifEqual(Slot(n), every, Num(0), d.leave)
	d.op(Load, Slot(at), Num(1)).to(first)
	d.unlessEqual(Slot(first), every, Num('.'), part)
	d.ifEqual(Slot(n), every, Num(1), d.leave)
	d.unlessEqual(Slot(n), every, Num(2), part)
	d.op(Compare, Slot(at), d.str(".."), Num(2)).then(d.leave).orElse(Following)
	d.mark(part)
	d.add(at, n)
	d.op(Load, Slot(at), Num(1)).to(c)
	d.ifEqual(Slot(c), every, Num('/'), loop)
	d.mark(done)
}
