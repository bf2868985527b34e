package cli

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// dev is a file of a fresh /dev, see internal/plan.
func (v *view) dev(pl *place, p string) (*node, error) {
	name := p[len(pl.target)+1:]
	switch name {
	case "null", "zero", "full", "random", "urandom", "tty":
		// A bind of the host's node: its owner and mode are the host's.
		n, err := v.host.lstat("/dev/" + name)
		if err != nil {
			return nil, err
		}
		f := &node{inode: n, path: p, hostPath: "/dev/" + name, place: pl, noExec: true}
		f.noDev = v.host.mountFlags("/dev/"+name)&unix.ST_NODEV != 0
		if name == "tty" && !v.terminal {
			f.refuse, f.why = mayRead|mayWrite, "the command has no terminal (ENXIO)"
		}
		return f, nil
	case "fd":
		return v.devLink(pl, p, "/proc/self/fd"), nil
	case "stdin":
		return v.devLink(pl, p, "/proc/self/fd/0"), nil
	case "stdout":
		return v.devLink(pl, p, "/proc/self/fd/1"), nil
	case "stderr":
		return v.devLink(pl, p, "/proc/self/fd/2"), nil
	case "ptmx":
		return v.devLink(pl, p, "pts/ptmx"), nil
	case "pts":
		return v.devDir(pl, p, 0o755, true), nil
	case "pts/ptmx":
		return &node{inode: inode{mode: unix.S_IFCHR | 0o666}, path: p, place: pl}, nil
	case "shm":
		return v.made(p, unix.S_IFDIR|0o1777, pl, false), nil
	case "mqueue":
		if v.p.Unshare.IPC {
			return v.made(p, unix.S_IFDIR|0o1777, pl, false), nil
		}
		return v.devDir(pl, p, 0o755, true), nil
	}
	if strings.HasPrefix(name, "pts/") && v.terminal && name == "pts/0" {
		return &node{inode: inode{mode: unix.S_IFCHR | 0o620, uid: v.maker.uid, gid: v.maker.gid}, path: p, place: pl}, nil
	}
	return nil, unix.ENOENT
}

func (v *view) devLink(pl *place, p, to string) *node {
	n := v.made(p, unix.S_IFLNK|0o777, pl, true)
	n.link = to
	return n
}

func (v *view) devDir(pl *place, p string, mode uint32, readOnly bool) *node {
	return v.made(p, unix.S_IFDIR|mode, pl, readOnly)
}

// landlockRule is a right that is given for a path and all that lies below it.
type landlockRule struct {
	path   string
	access uint64
}

const (
	landlockRead   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockDevice = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
)

// landlockRules are those that internal/plan makes of the places.
func (v *view) landlockRules(abi int) {
	if abi == 0 || v.p.Landlock == policy.LandlockOff || v.p.Landlock == "" {
		return
	}
	v.handled = ^uint64(0)
	if len(v.places) == 0 || v.places[0].target != "/" {
		v.landlock = append(v.landlock, landlockRule{"/", unix.LANDLOCK_ACCESS_FS_READ_DIR})
	}
	for i := range v.places {
		pl := &v.places[i]
		if pl.skip {
			continue
		}
		access := ^uint64(0)
		switch pl.kind {
		case policy.Read, policy.File:
			access = landlockRead
			if pl.real == "/dev" || below(pl.real, "/dev") {
				access |= landlockDevice
			}
		case policy.Dev:
			access = landlockDevice
			v.landlock = append(v.landlock, landlockRule{pl.target + "/shm", ^uint64(0)}, landlockRule{pl.target + "/mqueue", ^uint64(0)})
		case policy.Proc:
			access = landlockDevice | unix.LANDLOCK_ACCESS_FS_EXECUTE
		case policy.Hide, policy.Symlink:
			continue
		}
		v.landlock = append(v.landlock, landlockRule{pl.target, access})
	}
}

// landlocked reports whether Landlock refuses a right on a path.
func (v *view) landlocked(p string, right uint64) bool {
	if v.handled&right == 0 {
		return false
	}
	var have uint64
	for _, r := range v.landlock {
		if r.path == "/" || r.path == p || below(p, r.path) {
			have |= r.access
		}
	}
	return right&^have != 0
}
