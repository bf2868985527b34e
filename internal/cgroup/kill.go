package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to every process of the group and of the groups in it: by
// cgroup.kill where there is one (cgroup2, Linux 5.14), else one after the other,
// frozen meanwhile where that is possible, so that none can fork away. It does
// not wait for them to be gone. A process may only be killed by who may signal it.
func (g *Group) Kill() error {
	if len(g.dirs) == 0 || g.dry {
		return nil
	}
	d := &g.dirs[0]
	for i := range g.dirs {
		if g.dirs[i].h.Version == 2 && g.dirs[i].fd >= 0 {
			d = &g.dirs[i]
			if writeBelow(d.fd, "cgroup.kill", "1") == nil {
				return nil
			}
		}
	}
	if d.fd < 0 {
		return nil
	}
	// SIGKILL ends a task that cgroup2 froze; one of v1 has to be thawed for it.
	if g.Freeze() == nil {
		defer func() { _ = g.Thaw() }()
		if _, err := signalTree(d.fd, unix.SIGKILL); err != nil {
			return fileError("kill", path.Join(d.dir, g.Name), err)
		}
		if err := g.Thaw(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		n, err := signalTree(d.fd, unix.SIGKILL)
		if err != nil {
			return fileError("kill", path.Join(d.dir, g.Name), err)
		}
		if n == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill %s: %d processes are still there after %v; they may hang in the kernel (state D in ps(1))", path.Join(d.dir, g.Name), n, patience)
		}
		time.Sleep(wait)
	}
}

// signalTree signals every process of a group and below, and returns how many
// of them live.
func signalTree(fd int, sig unix.Signal) (int, error) {
	names, err := subdirs(fd)
	if err != nil {
		return 0, err
	}
	n, err := signalOne(fd, sig)
	for _, name := range names {
		child, cerr := openBelow(fd, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if cerr == unix.ENOENT {
			continue
		}
		if cerr != nil {
			return n, errors.Join(err, cerr)
		}
		m, cerr := signalTree(child, sig)
		unix.Close(child)
		n += m
		err = errors.Join(err, cerr)
	}
	return n, err
}

// signalOne signals the processes of one group. A pid that was read can belong to
// somebody else by the time it is used, so it is held by a pidfd, the list is
// read again, and only what is still on it is signalled.
func signalOne(fd int, sig unix.Signal) (int, error) {
	list, err := readBelow(fd, "cgroup.procs")
	if err != nil || list == "" {
		return 0, err
	}
	type held struct{ pid, fd int }
	var procs []held
	defer func() {
		for _, p := range procs {
			unix.Close(p.fd)
		}
	}()
	n := 0
	for s := range strings.FieldsSeq(list) {
		n++
		pid, err := strconv.Atoi(s)
		if err != nil || pid == 0 { // 0: of a pid namespace that can't be seen from here
			continue
		}
		if p, err := unix.PidfdOpen(pid, 0); err == nil {
			procs = append(procs, held{pid, p})
		}
		if len(procs) == 256 { // the rest comes in the next round
			break
		}
	}
	again, err := readBelow(fd, "cgroup.procs")
	if err != nil {
		return n, err
	}
	for _, p := range procs {
		if !hasLine(again, strconv.Itoa(p.pid)) {
			continue
		}
		if e := unix.PidfdSendSignal(p.fd, sig, nil, 0); e != nil && e != unix.ESRCH {
			err = e
		}
	}
	return n, err
}

func hasLine(text, line string) bool {
	for l := range strings.Lines(text) {
		if strings.TrimSuffix(l, "\n") == line {
			return true
		}
	}
	return false
}
