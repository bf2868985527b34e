package plan

import "golang.org/x/sys/unix"

// startInPlace is the launcher's beginning when it is `cloche run` itself.
func (b *builder) startInPlace(in *InPlace) {
	b.begin(Step{Process: Launcher, Name: "become the launcher"})
	b.whole = b.newVar("arguments")
	b.asked = b.label()
	b.set(VarOnFatal, Target(b.asked))
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str(b.processName())).ignoring()
	// Kept whole for the program that explains; the command gets its own part.
	b.set(b.whole, Slot(VarArgv))
	b.advance(VarArgv, uint64(8*in.ArgvSkip))
}

// explain follows the end of a command with an exit code other than 0, or the
// failure of an operation: the launcher becomes `cloche run` once more, with the
// same arguments and the same environment, which finds the words. It costs
// nothing where nothing failed.
//
// Where a prelude's set-up failed, the program does it all again instead: it
// reports an exit code of 0. So it is where a join's failed, whose command's end is
// never explained.
func (b *builder) explain(code Var) {
	in := b.inPlace()
	exit, read, tell := b.label(), b.label(), b.label()
	done := tell
	if b.join != nil {
		done = exit // what the command ended with is all there is to say
	}
	if !in.Tell {
		b.ifEqual(Slot(code), ^uint64(0), Num(0), exit)
	}

	b.begin(Step{Process: Launcher, Name: "explain", Kind: KindWait})
	rec := buffer("report", recordSize)
	n, reported := b.tmp("n"), b.tmp("reported")
	if in.Tell {
		b.op(Alu, Slot(code), Num(0), Num(^uint64(0)), Num(0), Num(ToldBase)).to(reported)
		if b.overtime != 0 {
			b.op(Alu, Slot(reported), Num(0), Num(^uint64(0)), Num(0), Slot(b.overtime)).to(reported)
		}
	} else {
		b.set(reported, Slot(code))
	}
	b.mark(read)
	b.op(SysRead, Num(uint64(in.ReadFD)), Ref(rec), Num(recordSize)).to(n).orElse(done)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), done)
	b.op(Load, Ref(rec), Num(4)).to(n)
	if in.Prelude != nil {
		// What failed after the command had started is no reason to start it again.
		b.ifEqual(Slot(n), ^uint64(0), Num(uint64(RecordStarted)), done)
		again := b.label()
		b.unlessEqual(Slot(n), ^uint64(0), Num(uint64(RecordFailed)), read)
		b.jump(again)
		b.mark(b.asked) // there is no pid 1 yet
		b.set(VarOnFatal, Target(exit))
		b.set(code, Num(125))
		b.removeCgroup()
		b.mark(again)
		b.set(reported, Num(0))
	} else {
		b.unlessEqual(Slot(n), ^uint64(0), Num(uint64(RecordFailed)), read)
		b.op(Load, RefAt(rec, 4), Num(4)).to(VarFailedOp)
		b.op(Load, RefAt(rec, 8), Num(4)).to(VarFailedErrno).then(read)

		// A failure of the launcher's own comes here, with 125 as the code.
		b.mark(b.asked)
		b.set(code, Num(125))
		b.set(reported, Num(125))
	}
	b.mark(tell)
	b.askProgram(reported, exit)
	b.mark(exit)
}

// askProgram executes the program that explains; where it can't be, it goes on at exit.
func (b *builder) askProgram(reported Var, exit Label) {
	in, n := b.inPlace(), b.tmp("n")
	b.set(VarOnFatal, Target(exit)) // from here on: give up
	const prefix = ExplainVariable + "="
	text := &Data{Section: SetupRW, Bytes: append([]byte(prefix), make([]byte, 96)...), Text: `"` + prefix + `…"`}
	at, pid := b.tmp("at"), b.tmp("pid")
	b.set(at, RefAt(text, len(prefix)))
	// The same process explains: in any other the variable means nothing.
	b.op(SysGetpid).to(pid)
	for i, v := range []Var{VarFailedOp, VarFailedErrno, reported, pid} {
		b.op(Format, Slot(at), Slot(v)).to(n)
		b.op(Alu, Slot(at), Num(0), Num(^uint64(0)), Num(0), Slot(n)).to(at)
		if i < 3 {
			b.op(Store, Slot(at), short(":"), Num(1))
			b.advance(at, 1)
		}
	}
	env := b.explainEnvironment(text)
	b.op(SysRtSigprocmask, named("SIG_SETMASK", unix.SIG_SETMASK), Ref(b.oldMask), null, Num(8))
	b.op(SysExecveat, Num(uint64(in.ExeFD)), b.str(""), Slot(b.whole), env, Flags(cEmptyPath)).ignoring()
}

// explainEnvironment is the environment that `cloche run` was started with, after
// the variable that reports.
func (b *builder) explainEnvironment(report *Data) Arg {
	in := b.inPlace()
	if in.Prelude == nil {
		env := &Data{Bytes: make([]byte, 8*(len(in.Env)+2)), Align: 8, Text: "environment", Relocs: make([]Reloc, 0, len(in.Env)+1)}
		env.Relocs = append(env.Relocs, Reloc{Off: 0, To: report})
		for i, kv := range in.Env {
			env.Relocs = append(env.Relocs, Reloc{Off: 8 * (i + 1), To: b.str(kv).data})
		}
		return Ref(env)
	}
	env := &Data{Section: SetupRW, Size: 8 * (maxPointers + 2), Align: 8, Text: "whole environment"}
	at, from, p := b.tmp("at"), b.tmp("from"), b.tmp("pointer")
	end := b.label()
	b.op(Store, Ref(env), Ref(report), Num(8))
	b.set(at, RefAt(env, 8))
	b.set(from, Slot(b.wholeEnv))
	loop := b.here()
	b.op(Load, Slot(from), Num(8)).to(p)
	b.op(Branch, Slot(at), Num(^uint64(0)), RefAt(env, 8*(maxPointers+1)), Num(CondLess)).orElse(end)
	b.op(Store, Slot(at), Slot(p), Num(8))
	b.advance(at, 8)
	b.advance(from, 8)
	b.unlessEqual(Slot(p), ^uint64(0), Num(0), loop)
	b.mark(end)
	return Ref(env)
}
