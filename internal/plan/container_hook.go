package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// CompileHook makes the plan of a hook that runs in a container's namespaces: it
// joins them and executes the hook, with all that the caller may. The status pipe is
// descriptor 3.
func CompileHook(f *host.Facts, path string, join []JoinNamespace) (*Plan, error) {
	if err := checkContainerKernel(f); err != nil {
		return nil, err
	}
	c := &Container{Facts: *f, StatusFD: 3, ControlFD: 4, CgroupFD: -1, Exec: true, Join: join}
	b := &containerBuilder{c: c, builder: newBuilder(&Input{Policy: &policy.Policy{}, Facts: *f, StatusFD: 3, ControlFD: 4, CgroupFD: -1})}
	b.launch()
	b.begin(Step{Process: Command, Name: "hook", Kind: KindExec, Path: path, Origin: "hooks"})
	b.op(SysCloseRange, Num(3), Num(^uint64(0)>>32), named("CLOSE_RANGE_CLOEXEC", unix.CLOSE_RANGE_CLOEXEC))
	b.op(SysExecve, b.str(path), Slot(VarArgv), Slot(VarEnvp))
	b.reportFatal()
	return b.p, nil
}

// holdNamespaces opens the namespaces that hooks join, while /proc is still the host's.
func (b *containerBuilder) holdNamespaces() {
	if len(b.c.Held) == 0 {
		return
	}
	b.begin(Step{Process: Init, Name: "namespaces for hooks", Kind: KindContainerProcess, Path: "/proc/self/ns", Origin: "hooks"})
	proc, fd := b.tmp("proc"), b.tmp("file")
	b.openProc(proc)
	for i := range b.c.Held {
		n := &b.c.Held[i]
		b.op(SysOpenat, Slot(proc), b.str("self/ns/"+n.Name), Flags(cRdonly, cCloexec), Num(0)).to(fd)
		b.op(SysDup3, Slot(fd), Num(uint64(n.FD)), Flags(cCloexec))
		b.op(SysClose, Slot(fd))
	}
	b.op(SysClose, Slot(proc))
}

// sendNamespaces hands them to whoever runs the hooks.
func (b *containerBuilder) sendNamespaces() {
	fd := b.tmp("file")
	for i := range b.c.Held {
		b.set(fd, Num(uint64(b.c.Held[i].FD)))
		b.sendDescriptor(fd, SentNamespace, b.c.Held[i].Name)
	}
}

// waitForStart ends when a byte of 1 comes. One of 2 is from somebody who has hooks to run before, and
// connects for the namespaces.
func (b *containerBuilder) waitForStart(p *ContainerProcess) {
	said := buffer("go", 8)
	if p.HooksFD == 0 {
		b.op(SysRead, Num(uint64(p.StartFD)), Ref(said), Num(1)).retryOn(int(unix.EINTR))
		return
	}
	n, connection, begun := b.tmp("n"), b.tmp("connection"), b.label()
	again := b.here()
	b.op(SysRead, Num(uint64(p.StartFD)), Ref(said), Num(1)).retryOn(int(unix.EINTR))
	b.op(Load, Ref(said), Num(1)).to(n)
	b.ifEqual(Slot(n), 0xff, Num(StartNow), begun)
	// The number that messages are sent by is taken first, so that the connection gets another.
	b.op(SysDup3, Num(uint64(p.HooksFD)), Num(uint64(b.in.ControlFD)), Flags(cCloexec))
	b.op(SysAccept4, Num(uint64(p.HooksFD)), null, null, Flags(cSockCloexec)).to(connection).retryOn(int(unix.EINTR))
	b.op(SysDup3, Slot(connection), Num(uint64(b.in.ControlFD)), Flags(cCloexec))
	b.op(SysClose, Slot(connection))
	b.sendNamespaces()
	b.op(SysClose, Num(uint64(b.in.ControlFD)))
	b.jump(again)
	b.mark(begun)
}

// What is written to the FIFO of a container that waits for start.
const (
	StartNow      = 1
	StartForHooks = 2
)
