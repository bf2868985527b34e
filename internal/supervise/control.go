package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// takeTerminal passes the master of the sandbox's terminal on, and lets pid 1 go on.
func (p *Process) takeTerminal(fd int) {
	// Non-blocking, so that a read of it ends when the file is closed.
	_ = unix.SetNonblock(fd, true)
	p.spec.OnTerminal(os.NewFile(uintptr(fd), "terminal"))
	_, _ = p.control.Write([]byte{1})
}

// writeIDMaps has newuidmap(1) and newgidmap(1) write the ranges of
// /etc/subuid and /etc/subgid, and lets pid 1 go on.
func (p *Process) writeIDMaps() error {
	u := p.spec.Policy.User
	ranges, err := host.SubIDs()
	if err != nil {
		return &plan.Error{Setting: "user ranges", Origin: p.spec.Policy.Origins["user.mode"], Why: err.Error(), Fix: "add ranges with usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, or use --user current"}
	}
	for _, m := range []struct {
		tool            string
		inside, outside uint32
		r               []host.IDRange
	}{
		{"newuidmap", u.UID, uint32(os.Geteuid()), ranges.UID},
		{"newgidmap", u.GID, uint32(os.Getegid()), ranges.GID},
	} {
		args := append([]string{strconv.Itoa(p.init)}, idMap(m.inside, m.outside, m.r)...)
		out, err := exec.Command(m.tool, args...).CombinedOutput()
		if err != nil {
			why := strings.TrimSpace(string(out))
			if why == "" {
				why = err.Error()
			}
			return &plan.Error{Setting: "user ranges", Origin: p.spec.Policy.Origins["user.mode"], Why: fmt.Sprintf("%s %s: %s", m.tool, strings.Join(args, " "), why), Fix: "install newuidmap and newgidmap (Debian's package uidmap) and check /etc/subuid and /etc/subgid"}
		}
	}
	_, err = p.control.Write([]byte{1})
	return err
}

// idMap lays the caller's own id at inside and the ranges around it, from 0 up.
func idMap(inside, outside uint32, ranges []host.IDRange) []string {
	var args []string
	add := func(in, out, n uint32) {
		args = append(args, strconv.FormatUint(uint64(in), 10), strconv.FormatUint(uint64(out), 10), strconv.FormatUint(uint64(n), 10))
	}
	next := uint32(0)
	placed := false
	for _, r := range ranges {
		first, left := r.First, r.Count
		for left > 0 {
			if next == inside && !placed {
				add(inside, outside, 1)
				placed = true
				next++
			}
			n := left
			if !placed && inside > next {
				n = min(n, inside-next)
			}
			add(next, first, n)
			next, first, left = next+n, first+n, left-n
		}
	}
	if !placed {
		add(inside, outside, 1)
	}
	return args
}
