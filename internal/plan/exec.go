package plan

import "golang.org/x/sys/unix"

// defaultPath is searched when the environment has no PATH.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// pathRoom is the longest directory of PATH and the longest command name together.
const pathRoom = 8192

// exec becomes the command, as execvp(3) would: the arguments and the
// environment are those the image itself was started with, so one image serves
// any. PATH is searched here, inside, with the file system as the command sees it.
func (b *builder) exec() {
	b.begin(Step{Process: Command, Name: "exec", Kind: KindExec})
	cmd, result := b.tmp("cmd"), b.tmp("result")
	direct, last := b.label(), b.label()
	var script Label

	b.op(Load, Slot(VarArgv), Num(8)).to(cmd)
	b.renameCommand()
	b.searchPath(cmd, direct, last, func(name Arg, denied, next Label) {
		failed := b.label()
		b.op(SysExecve, name, Slot(VarArgv), Slot(VarEnvp)).to(result).orElse(failed)
		b.mark(failed)
		b.ifEqual(Slot(result), ^uint64(0), errnoArg("ENOENT", unix.ENOENT), next)
		b.ifEqual(Slot(result), ^uint64(0), errnoArg("ENOTDIR", unix.ENOTDIR), next)
		b.ifEqual(Slot(result), ^uint64(0), errnoArg("EACCES", unix.EACCES), denied)
		if b.in.Manner != nil {
			script = b.label()
			b.set(cmd, name)
			b.ifEqual(Slot(result), ^uint64(0), errnoArg("ENOEXEC", unix.ENOEXEC), script)
		}
		// Any other error ends the search: the same call again, for its report.
		b.op(SysExecve, name, Slot(VarArgv), Slot(VarEnvp))
	})

	b.mark(direct)
	b.mark(last)
	call := b.op(SysExecve, Slot(cmd), Slot(VarArgv), Slot(VarEnvp))
	if script != 0 {
		call.on(int(unix.ENOEXEC), script)
		b.mark(script)
		b.asScript(Slot(cmd))
	}
}

// searchPath is the search of execvp(3): a name with a slash is not searched for and
// goes to direct; each other place is for try, which goes on to denied or next
// where the command is not to be had there. When no place is left, the operation at
// last is reported as failed, with EACCES where one of them was denied.
func (b *builder) searchPath(cmd Var, direct, last Label, try func(name Arg, denied, next Label)) {
	n, at, c := b.tmp("n"), b.tmp("at"), b.tmp("byte")
	path, env, seen := b.tmp("path"), b.tmp("env"), b.tmp("seen")
	all := Num(^uint64(0))
	buf := buffer("path", pathRoom)
	found, noPath, search := b.label(), b.label(), b.label()
	denied, next, end, missing := b.label(), b.label(), b.label(), b.label()

	b.op(Copy, Num(0), Slot(cmd), Num('/'), Num(unix.PathMax)).to(n)
	b.op(Alu, Slot(cmd), Num(0), all, Num(0), Slot(n)).to(at)
	b.op(Load, Slot(at), Num(1)).to(c)
	b.ifEqual(Slot(c), 0xff, Num('/'), direct)

	b.set(seen, Num(0))
	b.set(env, Slot(VarEnvp))
	loop := b.here()
	b.op(Load, Slot(env), Num(8)).to(path)
	b.ifEqual(Slot(path), ^uint64(0), Num(0), noPath)
	b.op(Compare, Slot(path), b.str("PATH="), Num(5)).then(found).orElse(Following)
	b.op(Alu, Slot(env), Num(0), all, Num(0), Num(8)).to(env).then(loop)
	b.mark(noPath)
	b.op(Alu, b.str(defaultPath), Num(0), all, Num(0), Num(0)).to(path).then(search)
	b.mark(found)
	b.op(Alu, Slot(path), Num(0), all, Num(0), Num(5)).to(path)

	b.mark(search)
	b.op(Copy, Ref(buf), Slot(path), Num(':'), Num(unix.PathMax)).to(n)
	b.op(Alu, Ref(buf), Num(0), all, Num(0), Slot(n)).to(at)
	b.op(Alu, Slot(path), Num(0), all, Num(0), Slot(n)).to(path)
	// An empty entry would mean the working directory, which the command's own
	// files could be in: it is passed over.
	b.ifEqual(Slot(n), ^uint64(0), Num(0), next)
	b.op(Store, Slot(at), Num('/'), Num(1))
	b.op(Alu, Slot(at), Num(0), all, Num(0), Num(1)).to(at)
	b.op(Copy, Slot(at), Slot(cmd), Num(0), Num(unix.PathMax-1)).to(n)
	b.op(Alu, Slot(at), Num(0), all, Num(0), Slot(n)).to(at)
	b.op(Store, Slot(at), Num(0), Num(1))
	try(Ref(buf), denied, next)
	b.mark(denied)
	b.set(seen, Num(1))
	b.mark(next)
	b.op(Load, Slot(path), Num(1)).to(c)
	b.ifEqual(Slot(c), 0xff, Num(0), end)
	b.op(Alu, Slot(path), Num(0), all, Num(0), Num(1)).to(path).then(search)

	b.mark(end)
	b.op(Alu, Target(last), Num(0), all, Num(0), Num(0)).to(VarFailedOp)
	b.ifEqual(Slot(seen), ^uint64(0), Num(0), missing)
	b.op(Alu, named("EACCES", uint64(unix.EACCES)), Num(0), all, Num(0), Num(0)).to(VarFailedErrno).then(b.fatal)
	b.mark(missing)
	b.op(Alu, named("ENOENT", uint64(unix.ENOENT)), Num(0), all, Num(0), Num(0)).to(VarFailedErrno).then(b.fatal)
}

// errnoArg is a failed system call's result.
func errnoArg(name string, e unix.Errno) Arg {
	return Arg{value: uint64(-int64(e)), name: "-" + name}
}
