package oci

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

// Create makes a container whose process waits for start.
func Create(g *Global, id string, o *CreateOptions) error {
	m := &maker{g: g, o: o, waits: true, detach: true}
	if err := m.begin(id); err != nil {
		return err
	}
	if err := m.run(); err != nil {
		return errors.Join(err, m.undo())
	}
	m.release()
	return nil
}

// maker makes a container, up to the moment when its process executes or waits.
type maker struct {
	g         *Global
	o         *CreateOptions
	config    *config
	container *Container
	compiler  *compiler
	group     *cgroups.Group
	image     *supervise.ContainerImage
	waits     bool                        // for start
	detach    bool                        // nobody stays beside it
	exec      *ExecOptions                // a process in a container that is there
	onMaster  func(master *os.File) error // of the terminal; owns it

	pids    []int    // of the image's processes, the container's last
	order   []uint32 // of pids
	stages  int
	made    bool
	devices *movedDevices     // that are to come back where the container comes to nothing
	copied  int               // how many of the mounts have been looked at by nextCopyUp
	hooked  bool              // hooks have begun to run
	waiting []plan.RecordKind // records that came before the pid they are about
}

// begin reads the bundle and takes the id. From then on there is something that
// `delete --force` finds and takes away.
func (m *maker) begin(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	bundle, err := filepath.Abs(m.o.Bundle)
	if err != nil {
		return err
	}
	if bundle, err = filepath.EvalSymlinks(bundle); err != nil {
		return err
	}
	c, text, err := readBundle(bundle)
	if err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	if err := m.checkConsole(c); err != nil {
		return err
	}
	m.config = c
	ct := &Container{
		ID: id, OCIVersion: c.Version, Bundle: bundle, Created: time.Now().UTC(), Annotations: c.Annotations, OwnerUID: os.Geteuid(),
		Systemd: m.g.SystemdCgroup, Rootless: m.g.Rootless, root: m.g.Root, lock: -1,
	}
	if h := c.Hooks; h != nil {
		ct.StartContainer, ct.Poststart, ct.Poststop = h.StartContainer, h.Poststart, h.Poststop
	}
	m.container = ct
	if err := os.MkdirAll(m.g.Root, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(ct.dir(), 0o711); err != nil {
		if errors.Is(err, os.ErrExist) {
			return errExists
		}
		return err
	}
	if ct.lock, err = lockDir(ct.dir(), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w", ct.dir(), err)
	}
	err = writeNew(filepath.Join(ct.dir(), configFile), text)
	if err == nil {
		err = ct.save()
	}
	if err != nil {
		_ = os.RemoveAll(ct.dir())
		ct.unlock()
	}
	return err
}

// checkConsole: a terminal needs somebody who holds its master.
func (m *maker) checkConsole(c *config) error {
	switch socket := m.o.ConsoleSocket; {
	case c.Process.Terminal && socket == "" && m.detach:
		return errors.New("cannot allocate tty if runc will detach without setting console socket")
	case socket != "" && !(c.Process.Terminal && m.detach):
		return errors.New("cannot use console socket if runc will not detach or allocate tty")
	}
	return nil
}

// cgroupConfig is what the container's cgroup is made of.
func (c *Container) cgroupConfig(cfg *config) cgroups.Config {
	cg := cgroups.Config{
		ID: c.ID, Path: cfg.Linux.CgroupsPath, Version: cfg.Version, Systemd: c.Systemd, Rootless: c.Rootless,
		Resources: cfg.Linux.Resources, Annotations: cfg.Annotations,
	}
	if cfg.makes(specs.UserNamespace) && cfg.makes(specs.CgroupNamespace) {
		for _, m := range cfg.Linux.UIDMappings {
			if m.ContainerID == 0 {
				uid := int(m.HostID)
				cg.OwnerUID = &uid
			}
		}
	}
	return cg
}

// run does all the rest.
func (m *maker) run() error {
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	if m.group, err = cgroups.Prepare(m.container.cgroupConfig(m.config)); err != nil {
		return err
	}
	m.container.Cgroup = m.group.State()
	k := &compiler{c: m.config, o: m.o, container: m.container, bundle: m.container.Bundle, facts: facts, cgroups: cgroupView{m.container.Cgroup.Dirs}}
	m.compiler = k
	defer k.close()
	k.inUserNS = inUserNamespace()
	if err := m.descriptors(); err != nil {
		return err
	}
	if err := k.compile(); err != nil {
		return err
	}
	return m.launch()
}

// launch starts the image and answers it.
func (m *maker) launch() error {
	k := m.compiler
	env, err := k.environment(m.config.Process)
	if err != nil {
		return err
	}
	k.in.EarlyFD = len(k.files) + 64
	k.in.Process.Attached = !m.detach
	p, err := plan.CompileContainer(&k.in)
	if err != nil {
		return err
	}
	m.stages = k.in.Stages()
	// The image's processes have this thread as the one whose end would end them.
	runtime.LockOSThread()
	if m.image, err = supervise.StartContainer(p, k.in.StatusFD, k.in.ControlFD, k.files, m.config.Process.Args, env); err != nil {
		return err
	}
	if !m.detach {
		relay() // the image works meanwhile
	}
	err = m.attend()
	m.image.Close() // what still waits for an answer ends
	if err != nil {
		if m.exec != nil {
			m.image.Reap(m.pids...)
		}
		return err
	}
	m.image.Reap(m.pids[:len(m.pids)-1]...)
	return nil
}

// descriptors numbers those that the image inherits.
func (m *maker) descriptors() error {
	k := m.compiler
	k.files = []uintptr{0, 1, 2}
	for i := range m.o.PreserveFDs {
		fd := 3 + i
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return fmt.Errorf("--preserve-fds %d: file descriptor %d is not open", m.o.PreserveFDs, fd)
		}
		k.files = append(k.files, uintptr(fd))
	}
	in := &k.in
	in.StatusFD = k.give(-1)
	if m.waits {
		start, err := m.container.makeFIFO(startFIFO)
		if err != nil {
			return err
		}
		k.toClose = append(k.toClose, start)
		report, err := m.container.makeFIFO(reportFIFO)
		if err != nil {
			return err
		}
		k.toClose = append(k.toClose, report)
		in.Process.StartFD, in.Process.ReportFD = k.give(start), k.give(report)
		if len(m.container.StartContainer) > 0 {
			hooks, err := m.container.makeHooksSocket()
			if err != nil {
				return err
			}
			k.toClose = append(k.toClose, hooks)
			in.Process.HooksFD = k.give(hooks)
		}
	}
	if m.exec == nil && m.config.hasHooksInside() {
		for _, n := range m.config.heldNamespaces() {
			n.FD = k.give(0) // a place, in which pid 1 puts it
			in.Held = append(in.Held, n)
		}
	}
	in.Process.LastFD = len(k.files) - 1
	in.ControlFD = k.give(-1)
	for _, e := range m.group.Entries() {
		in.EntryFDs = append(in.EntryFDs, k.give(e.FD))
	}
	in.CgroupFD = -1
	if fd := m.group.DirFD(); fd >= 0 {
		in.CgroupFD = k.give(fd)
	}
	in.Adopt = m.group.NeedsPid()
	return nil
}

// attend answers the image until the process has executed or waits.
func (m *maker) attend() error {
	var failure error
	for {
		kind, value, order, err := m.image.Next()
		if err != nil {
			if kind == plan.RecordFailed {
				failure = errors.Join(failure, m.explain(err))
				continue // until the end: who fails has to be gone before it is cleaned up
			}
			if !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
		if failure != nil {
			continue
		}
		if err := m.record(kind, value, order); err != nil {
			return err
		}
	}
	switch {
	case failure != nil:
		return failure
	case !m.made:
		return errors.New("the container's process ended while it was set up: it was killed, perhaps by the OOM killer for want of linux.resources.memory.limit")
	}
	return nil
}

// pid is the container's process; 0: not known yet.
func (m *maker) pid() int {
	if len(m.pids) < m.stages {
		return 0
	}
	return m.pids[m.stages-1]
}

// record does what a record asks for. The pid of a process comes from its maker,
// which may write later than the process itself.
func (m *maker) record(kind plan.RecordKind, value, order uint32) error {
	switch kind {
	case plan.RecordPID:
		// One is told of by its maker, and may itself tell of the next before.
		at, _ := slices.BinarySearch(m.order, order)
		m.order = slices.Insert(m.order, at, order)
		m.pids = slices.Insert(m.pids, at, int(value))
		waiting := m.waiting
		m.waiting = nil
		for _, kind := range waiting {
			if err := m.record(kind, 0, 0); err != nil {
				return err
			}
		}
		return nil
	case plan.RecordReady:
		return nil
	}
	if kind == plan.RecordIDMaps {
		at := m.compiler.in.MapStage()
		if len(m.pids) <= at {
			m.waiting = append(m.waiting, kind)
			return nil
		}
		l := &m.config.Linux.Linux
		if err := writeIDMaps(m.pids[at], l.UIDMappings, l.GIDMappings, m.compiler.facts.CapEff); err != nil {
			return err
		}
		return m.image.Answer()
	}
	if m.pid() == 0 {
		m.waiting = append(m.waiting, kind)
		return nil
	}
	if err := m.serve(kind); err != nil {
		return err
	}
	return m.image.Answer()
}

// serve does what the container's process waits for.
func (m *maker) serve(kind plan.RecordKind) error {
	switch kind {
	case plan.RecordNetDevices:
		return m.moveNetDevices()
	case plan.RecordAdopt:
		if err := m.group.Adopt(m.pid()); err != nil {
			return err
		}
		m.container.Cgroup = m.group.State()
		return nil
	case plan.RecordCopyUp:
		return m.copyUp()
	case plan.RecordSent:
		return m.received()
	case plan.RecordHooks:
		return m.runHooks()
	case plan.RecordLimits:
		return limitsOf(m.pid(), m.compiler.in.Process.Rlimits)
	case plan.RecordMade:
		return m.keep()
	}
	return fmt.Errorf("the launcher image reports something unknown (%d)", kind)
}

// keep is the moment from which the container is one: it is written down before its
// process is told, so that there is never one that nobody knows of.
func (m *maker) keep() error {
	c := m.container
	if m.exec != nil {
		m.made = true
		return m.announce(m.o.PidFile, m.o.PidfdSocket, m.pid())
	}
	c.Pid = m.pid()
	state, start, ok := processStat(c.Pid)
	if !ok || state == 'Z' {
		return errors.New("the container's process is gone")
	}
	c.StartTime = start
	if m.waits {
		c.ExecOp, c.FilterOp = m.image.Last(plan.KindExec), m.image.Last(plan.KindSeccomp)
		c.Command = m.config.Process.Args[0]
	}
	c.Made = true
	c.Started = !m.waits
	if err := c.save(); err != nil {
		return err
	}
	if err := m.announce(m.o.PidFile, m.o.PidfdSocket, c.Pid); err != nil {
		return err
	}
	m.made = true
	return nil
}

// announce tells others of a process.
func (m *maker) announce(pidFile, pidfdSocket string, pid int) error {
	if pidfdSocket != "" {
		if err := sendPidfd(pidfdSocket, pid); err != nil {
			return err
		}
	}
	if pidFile != "" {
		return writePidFile(pidFile, pid)
	}
	return nil
}

func writePidFile(name string, pid int) error {
	dir, base := filepath.Split(name)
	tmp := filepath.Join(dir, "."+base)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_SYNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	f.Close()
	if err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
