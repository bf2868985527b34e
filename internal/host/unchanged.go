package host

import (
	"golang.org/x/sys/unix"
)

// Unchanged reports whether Stat, Look and FollowLinks would find of every path what
// they found before. It asks less than they do: a path with no link on its way is looked
// at by one call that follows none.
func Unchanged(paths map[string]PathFact) bool {
	for p, fact := range paths {
		if !unchanged(p, &fact) {
			return false
		}
	}
	return true
}

var noLinks = unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}

func unchanged(p string, fact *PathFact) bool {
	var st unix.Statx_t
	switch {
	case !fact.Exists && fact.Link == "" && !fact.Linked:
		fd, err := unix.Openat2(unix.AT_FDCWD, p, &noLinks)
		if err == nil {
			unix.Close(fd)
		}
		return err != nil && err != unix.ELOOP && errnoName(err) == fact.Err
	case fact.Exists && fact.Real == "": // by Look, and no link
		err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_MODE, &st)
		return err == nil && uint32(st.Mode) == fact.Mode
	case fact.Exists && fact.Real == p && fact.Links == "":
		fd, err := unix.Openat2(unix.AT_FDCWD, p, &noLinks)
		if err != nil {
			return false
		}
		now := PathFact{Real: p}
		err = now.stat(fd)
		unix.Close(fd)
		return err == nil && now == *fact
	}
	now := statPath(p)
	if fact.Links != "" {
		now.Links = linksOn(p)
	}
	now.Linked = fact.Linked && !now.Exists && linkedAway(p)
	return now == *fact
}
