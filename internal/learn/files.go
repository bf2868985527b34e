package learn

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
)

// Access is what was done with a path, as bits.
type Access uint8

// The kinds of Access.
const (
	Looked  Access = 1 << iota // it was asked for and was not there
	Read                       // what is there was read, listed or looked at
	Write                      // what is there was changed
	Make                       // the name was made, removed or changed, so that its directory was
	Execute                    // it was executed
	Passed                     // a directory was there, was entered or looked at, and not listed
)

// manyFiles is how many entries of one directory become the directory.
const manyFiles = 8

// Files is what is known of the paths that were used. The zero value knows none.
type Files struct {
	seen map[string]*file
}

type file struct {
	access   Access
	programs map[string]uint64
}

// Add notes an access to an absolute path as the command saw it, by a program.
// What finds no place any more is noted of its directory.
func (f *Files) Add(name string, a Access, program string) {
	if f.seen == nil {
		f.seen = map[string]*file{}
	}
	name = path.Clean(name)
	for f.seen[name] == nil && len(f.seen) >= maxFiles {
		if name == "/" {
			return
		}
		name = path.Dir(name)
		a &^= Looked
	}
	k := f.seen[name]
	if k == nil {
		k = &file{programs: map[string]uint64{}}
		f.seen[name] = k
	}
	k.access |= a
	if _, ok := k.programs[program]; ok || len(k.programs) < maxPrograms {
		k.programs[program]++
	}
}

// Paths is what a policy has to add to a base for what was seen of files.
type Paths struct {
	Mounts []policy.Mount
	// Refused were written to where the base of learning did not let them.
	Refused []string
	// Wide are directories that were used as a whole and are not shown, as that
	// would show too much: the root, a home, /etc and the like.
	Wide []string
	// Secret are files that were read and look like keys or passwords.
	Secret []string
	// Missing were asked for and not there.
	Missing []string
}

// Paths returns what base does not show of what was seen. during is the policy
// that the command had while it was watched. Both are expanded; home is the
// caller's.
func (f *Files) Paths(base, during *policy.Policy, home string) Paths {
	var p Paths
	want := map[string]policy.MountKind{}
	why := map[string][]string{}
	var passed []string
	for _, name := range slices.Sorted(maps.Keys(f.seen)) {
		k := f.seen[name]
		switch k.access &^ Passed {
		case Looked:
			p.Missing = append(p.Missing, name)
			continue
		case 0:
			passed = append(passed, name)
			continue
		}
		if k.access&(Read|Execute) != 0 && secret(name, home) {
			p.Secret = append(p.Secret, name)
		}
		at, kind := name, policy.Read
		if k.access&(Write|Make) != 0 {
			kind = policy.Write
			if m, ok := during.MountAt(name); !ok || m.Kind == policy.Read || m.Kind == policy.Hide {
				p.Refused = append(p.Refused, name)
				if kind = policy.Read; k.access&(Read|Execute) == 0 {
					continue
				}
			} else if k.access&Make != 0 {
				// A name that is made anew can't be named: it may be another one the
				// next time, and what does not exist can't be shown.
				at = path.Dir(name)
			}
		}
		switch {
		case shown(base, at, kind):
		case at == "/" && kind == policy.Read: // which is always there, with what is shown
		case wide(at, home):
			p.Wide = append(p.Wide, at)
		default:
			if want[at] != policy.Write {
				want[at] = kind
			}
			why[at] = union(why[at], slices.Sorted(maps.Keys(k.programs)))
		}
	}
	p.Wide = slices.Compact(p.Wide)
	collapse(want, why, home)
	for _, name := range passed {
		if shown(base, name, policy.Read) || wide(name, home) || below(want, base, name) {
			continue // it is there, as what is in it is
		}
		want[name] = policy.Read
		why[name] = slices.Sorted(maps.Keys(f.seen[name].programs))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if above(want, name) {
			continue
		}
		p.Mounts = append(p.Mounts, policy.Mount{Kind: want[name], Path: name, Origin: "used by " + strings.Join(why[name], ", ")})
	}
	return p
}

// shown reports whether a policy lets a path be used that way, as far as its
// mounts say. What is hidden was hidden while learning, and is to stay so.
func shown(p *policy.Policy, name string, kind policy.MountKind) bool {
	m, ok := p.MountAt(name)
	return ok && (m.Kind != policy.Read || kind == policy.Read)
}

// collapse puts a directory in the place of many entries of it, the deepest first.
func collapse(want map[string]policy.MountKind, why map[string][]string, home string) {
	for _, kind := range []policy.MountKind{policy.Read, policy.Write} {
		for again := true; again; {
			again = false
			of := map[string][]string{}
			for name, k := range want {
				if k == kind {
					of[path.Dir(name)] = append(of[path.Dir(name)], name)
				}
			}
			for dir, names := range of {
				if len(names) < manyFiles || wide(dir, home) || secret(dir, home) {
					continue
				}
				for _, name := range names {
					why[dir] = union(why[dir], why[name])
					delete(want, name)
				}
				if want[dir] != policy.Write {
					want[dir] = kind
				}
				again = true
			}
		}
	}
}

// below reports whether something in a directory is shown, so that it exists.
func below(want map[string]policy.MountKind, base *policy.Policy, dir string) bool {
	for name := range want {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return slices.ContainsFunc(base.Mounts, func(m policy.Mount) bool { return strings.HasPrefix(m.Path, dir+"/") })
}

// above reports whether a directory above a path gives all that it needs.
func above(want map[string]policy.MountKind, name string) bool {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if k, ok := want[dir]; ok && (k == policy.Write || want[name] == policy.Read) {
			return true
		}
		if dir == "/" {
			return false
		}
	}
}

// wide reports whether a directory holds so much that nobody should be given all of
// it because something in it was used.
func wide(dir, home string) bool {
	switch dir {
	case "/", "/boot", "/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/tmp":
		return true
	}
	return home != "" && (dir == home || strings.HasPrefix(home, dir+"/"))
}

// secret reports whether a path looks like one that holds keys or passwords.
func secret(name, home string) bool {
	if rest, ok := strings.CutPrefix(name, home+"/"); ok && home != "" {
		first, _, _ := strings.Cut(rest, "/")
		switch first {
		case ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".netrc", ".pgpass", ".git-credentials", ".npmrc", ".pypirc", ".password-store", ".docker":
			return true
		}
	}
	switch name {
	case "/etc/shadow", "/etc/gshadow", "/etc/krb5.keytab":
		return true
	}
	base := path.Base(name)
	return strings.HasPrefix(base, "id_") && !strings.HasSuffix(base, ".pub") && path.Base(path.Dir(name)) == ".ssh" ||
		strings.HasPrefix(base, "ssh_host_") && strings.HasSuffix(base, "_key") || base == ".env" ||
		strings.HasPrefix(name, "/etc/ssl/private/")
}

// union is both sorted lists as one.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
