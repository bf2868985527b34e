package program

import (
	"os"
	"path"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
)

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// show makes a file of the host visible under the same name, where it is not.
// The symbolic links on the way are shown as what they are, so that a program
// finds beside itself what it finds outside ($ORIGIN of its libraries, say).
func (s *shower) show(name string) {
	left := parts(name)
	at := "/"
	for links := 0; len(left) > 0; {
		child := path.Join(at, left[0])
		left = left[1:]
		m, shown := s.inside.MountAt(child)
		if shown && m.Kind == policy.Symlink && m.Path == child { // the policy's own
			if links++; links > maxLinks {
				return
			}
			at, left = follow(at, m.Source, left)
			continue
		}
		info, err := os.Lstat(child)
		if err != nil {
			return
		}
		switch {
		case info.IsDir():
			at = child
			continue
		case info.Mode()&os.ModeSymlink == 0:
			if len(left) == 0 && info.Mode().IsRegular() && free(m, shown, child) {
				s.add(policy.Mount{Kind: policy.Read, Path: child})
			}
			return
		}
		if links++; links > maxLinks {
			return
		}
		to, err := os.Readlink(child)
		if err != nil {
			return
		}
		switch {
		case holds(m, shown):
		case !free(m, shown, child):
			return
		case s.mountedBelow(child):
			// Inside a directory is in its place. The file goes there itself.
			whole := path.Join(append([]string{child}, left...)...)
			if m, shown := s.inside.MountAt(whole); free(m, shown, whole) {
				s.add(policy.Mount{Kind: policy.Read, Path: whole})
			}
			return
		default:
			s.add(policy.Mount{Kind: policy.Symlink, Path: child, Source: to})
		}
		at, left = follow(at, to, left)
	}
}

func parts(name string) []string { return strings.Split(strings.Trim(name, "/"), "/") }

// follow goes on with the text of a link in the directory at.
func follow(at, to string, left []string) (string, []string) {
	if path.IsAbs(to) {
		at = "/"
	}
	return at, append(parts(to), left...)
}

// holds reports whether an entry shows what the host has at its path.
func holds(m policy.Mount, shown bool) bool {
	switch {
	case !shown:
		return false
	case m.Kind == policy.Read || m.Kind == policy.Write:
		return m.Source == "" || m.Source == m.Path
	}
	return m.Kind == policy.Overlay && len(m.Lower) == 0
}

// free reports whether something can be put at a path without changing what
// the policy says about it: nothing is there, or an empty tmpfs around it, as
// /dev/shm is one.
func free(m policy.Mount, shown bool, name string) bool {
	return !shown || m.Kind == policy.Tmpfs && m.Path != name || m.Kind == policy.Dev && strings.HasPrefix(name, m.Path+"/shm/")
}

func (s *shower) mountedBelow(dir string) bool {
	for i := range s.inside.Mounts {
		if strings.HasPrefix(s.inside.Mounts[i].Path, dir+"/") {
			return true
		}
	}
	return false
}

func (s *shower) add(m policy.Mount) {
	m.Origin = s.origin
	s.added = append(s.added, m)
	s.inside.Mounts = append(s.inside.Mounts, m)
}
