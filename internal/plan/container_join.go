package plan

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// join enters namespaces. Those that the user namespace to be joined owns can be
// entered only after it, others only before: what can't be entered at first is
// tried once more.
func (b *containerBuilder) join(namespaces []JoinNamespace) {
	var user *JoinNamespace
	for i := range namespaces {
		if namespaces[i].Type == unix.CLONE_NEWUSER {
			user = &namespaces[i]
		}
	}
	enter := func(n *JoinNamespace) opRef {
		b.begin(Step{Process: Launcher, Name: "join the " + n.Name + " namespace", Kind: KindJoin, Origin: "linux.namespaces"})
		return b.op(SysSetns, Num(uint64(n.FD)), namespaceArg(n.Type))
	}
	if user == nil {
		for i := range namespaces {
			enter(&namespaces[i])
		}
		return
	}
	late := make([]Var, len(namespaces))
	for i := range namespaces {
		if n := &namespaces[i]; n != user {
			late[i] = b.newVar("late" + strconv.Itoa(i))
			enter(n).to(late[i]).on(int(unix.EPERM), Following)
		}
	}
	enter(user)
	for i := range namespaces {
		if n := &namespaces[i]; n != user {
			done := b.label()
			b.ifEqual(Slot(late[i]), ^uint64(0), Num(0), done)
			enter(n)
			b.mark(done)
		}
	}
}

// namespaceArg is one of setns(2)'s types.
func namespaceArg(t uint64) Arg {
	for _, c := range joined {
		if constants[c].value == t {
			return Flags(c)
		}
	}
	return Num(t)
}
