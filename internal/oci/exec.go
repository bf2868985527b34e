package oci

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Exec runs a process in a container, confined as the container's own is. Unless it
// is detached it waits for it, and returns how it ended.
func Exec(g *Global, id string, o *ExecOptions) (status int, err error) {
	c, err := load(g, id)
	if err != nil {
		return -1, err
	}
	switch c.Status() {
	case Stopped:
		return -1, errors.New("cannot exec in a stopped container")
	case Creating:
		return -1, errors.New("cannot exec in a container that is being created")
	case Paused:
		if !o.IgnorePaused {
			return -1, errors.New("cannot exec in a paused container (use --ignore-paused to override)")
		}
	}
	cfg, err := c.spec()
	if err != nil {
		return -1, err
	}
	if cfg.Process, err = o.process(cfg.Process); err != nil {
		return -1, err
	}
	if err := validateProcess(cfg.Process, "process"); err != nil {
		return -1, err
	}
	m := &maker{g: g, config: cfg, container: c, detach: o.Detach, exec: o, o: &CreateOptions{
		ConsoleSocket: o.ConsoleSocket, PidfdSocket: o.PidfdSocket, PidFile: o.PidFile, PreserveFDs: o.PreserveFDs,
	}}
	if err := m.checkConsole(cfg); err != nil {
		return -1, err
	}
	var term *terminal
	if !o.Detach && o.ConsoleSocket == "" {
		term = new(terminal)
		m.onMaster = term.take
	}
	err = m.join()
	if err == nil && o.Detach {
		return 0, nil
	}
	if err == nil {
		status = forward(m.pid(), term)
	}
	if term != nil {
		term.restore()
	}
	return status, err
}

// process is what is to run: that of a file, or the container's own with what the
// options change.
func (o *ExecOptions) process(own *specs.Process) (*specs.Process, error) {
	if o.Process != "" {
		text, err := readRegular(o.Process, maxConfig)
		if err != nil {
			return nil, err
		}
		if err := checkJSON(text); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Process, err)
		}
		p := new(specs.Process)
		if err := decode(text, p); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Process, jsonError(text, err))
		}
		return p, nil
	}
	p := *own
	p.Args, p.Terminal, p.ConsoleSize = o.Args, o.TTY, nil
	if o.Cwd != "" {
		p.Cwd = o.Cwd
	}
	if o.AppArmor != "" {
		p.ApparmorProfile = o.AppArmor
	}
	if o.ProcessLabel != "" {
		p.SelinuxLabel = o.ProcessLabel
	}
	p.Env = slices.Concat(p.Env, o.Env)
	p.NoNewPrivileges = p.NoNewPrivileges || o.NoNewPrivs
	if len(o.Cap) > 0 {
		caps := specs.LinuxCapabilities{}
		if p.Capabilities != nil {
			caps = *p.Capabilities
		}
		for _, set := range []*[]string{&caps.Bounding, &caps.Effective, &caps.Permitted, &caps.Ambient} {
			*set = slices.Concat(*set, o.Cap)
		}
		p.Capabilities = &caps
	}
	if o.User != "" {
		uid, gid, hasGID := strings.Cut(o.User, ":")
		n, err := strconv.ParseUint(uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("parsing %s as int for uid failed: %w", uid, err)
		}
		p.User.UID = uint32(n)
		if hasGID {
			n, err := strconv.ParseUint(gid, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("parsing %s as int for gid failed: %w", gid, err)
			}
			p.User.GID = uint32(n)
		}
	}
	p.User.AdditionalGids = slices.Concat(p.User.AdditionalGids, o.AdditionalGIDs)
	return &p, nil
}

// join starts the image that joins the container.
func (m *maker) join() error {
	c, cfg := m.container, m.config
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	target, err := unix.PidfdOpen(c.Pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(target)
	root, err := unix.Open("/proc/"+strconv.Itoa(c.Pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the root of the container's process: %w", err)
	}
	defer unix.Close(root)
	if !c.alive() {
		return errors.New("cannot exec in a stopped container")
	}
	m.group = c.cgroup()
	defer m.group.Close()
	if len(c.Cgroup.Dirs) > 0 {
		if err := m.group.Enter(m.exec.Cgroup, c.Pid); err != nil {
			return err
		}
	}
	k := &compiler{c: cfg, o: m.o, container: c, bundle: c.Bundle, facts: facts, rootfs: root}
	m.compiler = k
	defer k.close()
	if err := m.descriptors(); err != nil {
		return err
	}
	in := &k.in
	in.Facts, in.Exec = facts, true
	if err := k.process(cfg.Process, &in.Process); err != nil {
		return err
	}
	in.Process.SetGroups = true
	if k.c.makes(specs.UserNamespace) && deniesSetgroups(cfg.Linux.GIDMappings, facts.CapEff) {
		in.Process.SetGroups = false
	}
	if err := k.labels(cfg.Process, in); err != nil {
		return err
	}
	in.OOMScoreAdj, in.OOMWherePermitted = cfg.Process.OOMScoreAdj, c.Rootless
	own := "/proc/" + strconv.Itoa(c.Pid) + "/ns/user"
	flags := cfg.namespaceFlags(func(t specs.LinuxNamespaceType) bool {
		return t == specs.UserNamespace && sameNamespace(own, t) // the own one can't be joined
	})
	in.Join = []plan.JoinNamespace{{Name: "container's", Type: flags, FD: k.give(target)}}
	if err := k.affinity(cfg.Process.ExecCPUAffinity); err != nil {
		return err
	}
	return m.launch()
}

// affinity sets which processors an exec may run on: first this process, whose the
// image inherits, then the process itself when it is in its cgroup.
func (k *compiler) affinity(a *specs.CPUAffinity) error {
	if a == nil {
		return nil
	}
	first, err := parseSet(a.Initial, 8192)
	if err != nil {
		return refusal("process.execCPUAffinity.initial", "%v", err)
	}
	if k.in.Process.Affinity, err = parseSet(a.Final, 8192); err != nil {
		return refusal("process.execCPUAffinity.final", "%v", err)
	}
	if first == nil {
		return nil
	}
	runtime.LockOSThread() // it is this thread's, from which the image is started
	var set unix.CPUSet
	for i := range 8 * len(first) {
		if first[i/8]&(1<<(i%8)) != 0 {
			set.Set(i)
		}
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return refusal("process.execCPUAffinity.initial", "%v", err)
	}
	return nil
}
