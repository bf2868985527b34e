package named

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/policy"
)

// hideOrigin is why a policy hides what nobody asked it to.
const hideOrigin = "the records of sandboxes"

// Hide returns an expanded policy with the records in dir hidden wherever it shows what they lie in:
// whoever can write there decides what `cloche exec` joins, and whoever can read there knows what
// others were started with. An entry that shows dir itself, or a part of it, was asked for by that name
// and stays. With create a directory that is not there yet is made first, as nothing can be hidden at a
// name that does not exist; without, a note says so.
func Hide(p *policy.Policy, dir string, create bool) (*policy.Policy, error) {
	if !p.Unshare.Mount {
		return p, nil
	}
	r, ok := findRecords(dir)
	if !ok {
		return p, nil // what its owner can't look at is shown to nobody
	}
	var at []string
	for i := range p.Mounts {
		m := &p.Mounts[i]
		for _, source := range plan.Sources(m) {
			if inside := r.in(p, m, source); inside != "" && !slices.Contains(at, inside) {
				at = append(at, inside)
			}
		}
	}
	if len(at) == 0 {
		return p, nil
	}
	q := p.Clone()
	if r.missing != "" {
		if !create {
			q.Notes = append(q.Notes, fmt.Sprintf("%s, where the records of sandboxes are, does not exist yet: cloche run makes it first, and hides it", dir))
			return q, nil
		}
		switch err := state.MakeStore(dir); {
		case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			return p, nil // nor can the command make it
		case err != nil:
			return nil, fmt.Errorf("%s (%s) are to be hidden: %w; or set %s", hideOrigin, dir, err, DirVariable)
		}
	}
	for _, inside := range at {
		q.Mounts = append(q.Mounts, policy.Mount{Kind: policy.Hide, Path: inside, Origin: hideOrigin})
	}
	slices.SortFunc(q.Mounts, func(a, b policy.Mount) int { return strings.Compare(a.Path, b.Path) })
	return q, nil
}

// records is where a directory is on the host, by what the kernel tells files by: a bind mount or a link
// gives it other names.
type records struct {
	path    string // that exists, with no link on the way
	missing string // below it
	id      fileID
	above   []ancestor
}

type ancestor struct {
	path string
	id   fileID
}

type fileID struct{ dev, ino uint64 }

func lookAt(look func(string, *unix.Stat_t) error, name string) (fileID, bool) {
	var st unix.Stat_t
	if look(name, &st) != nil {
		return fileID{}, false
	}
	return fileID{uint64(st.Dev), st.Ino}, true
}

// findRecords finds dir; false: it can't be looked at.
func findRecords(dir string) (r records, ok bool) {
	parent, missing := path.Dir(dir), path.Base(dir)
	real, err := filepath.EvalSymlinks(parent)
	for errors.Is(err, unix.ENOENT) && parent != "/" {
		parent, missing = path.Dir(parent), path.Join(path.Base(parent), missing)
		real, err = filepath.EvalSymlinks(parent)
	}
	if err != nil {
		return r, false
	}
	r.path = path.Join(real, missing)
	// What has the name of the last is what is taken for the records, or refused: a link is not followed.
	if r.id, ok = lookAt(unix.Lstat, r.path); !ok {
		r.path, r.missing = real, missing
		if r.id, ok = lookAt(unix.Lstat, real); !ok {
			return r, false
		}
		r.above = append(r.above, ancestor{real, r.id})
	}
	for p := r.path; p != "/"; {
		p = path.Dir(p)
		id, ok := lookAt(unix.Lstat, p)
		if !ok {
			return r, false
		}
		r.above = append(r.above, ancestor{p, id})
	}
	return r, true
}

// in is the path of the records inside, where an entry of a policy shows them at source; "": it does not.
func (r *records) in(p *policy.Policy, m *policy.Mount, source string) string {
	id, ok := lookAt(unix.Stat, source)
	if !ok {
		return ""
	}
	i := slices.IndexFunc(r.above, func(a ancestor) bool { return a.id == id })
	if i < 0 {
		return ""
	}
	below := strings.TrimPrefix(r.path, r.above[i].path)
	if there, ok := lookAt(unix.Lstat, path.Join(source, below)); !ok || there != r.id {
		return "" // something else is mounted there, by this name of the directory
	}
	inside := path.Join(m.Path, below, r.missing)
	if shows, ok := p.MountAt(inside); !ok || shows.Path != m.Path {
		return "" // the policy has something of its own there
	}
	if m.Source == "" && m.Kind != policy.Overlay {
		// A link in a tree that is shown leads inside where it leads outside, and in one that
		// can be written to nothing can be hidden behind it.
		if over, ok := p.MountAt(path.Dir(m.Path)); ok && m.Path != "/" && (over.Kind == policy.Write || over.Kind == policy.Overlay) {
			if real, err := filepath.EvalSymlinks(m.Path); err == nil && real != m.Path {
				return path.Join(r.path, r.missing)
			}
		}
	}
	return inside
}
