package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// ruleset is a Landlock ruleset while rules are added to it.
type ruleset struct {
	fd      int
	handled uint64
	known   map[inode]*place // the places that exist
}

type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{st.Dev, st.Ino} }

// newRuleset makes the ruleset that holds a policy on the host's files.
//
// Landlock adds the rights up that are granted to a file and to the directories
// above it: what is granted can't be taken back further down. So a right is
// granted to a directory only where all that the policy names below it have that
// right as well; else the directory is split, and its entries are granted it one
// by one but for those that lead to what must not have it.
func newRuleset(p *policy.Policy, abi int) (*ruleset, error) {
	root, err := places(p)
	if err != nil {
		return nil, err
	}
	bare := *p
	bare.Mounts = nil
	if bare.Network == policy.NetworkPrivate {
		bare.Network = policy.NetworkNone // it has no loopback of its own here
	}
	attr := plan.LandlockRuleset(&bare, abi)
	if abi >= abiScopes && abi < abiTSYNC && !threadsMaySignal() {
		scoped := attr[scopedAt:]
		binary.NativeEndian.PutUint64(scoped, binary.NativeEndian.Uint64(scoped)&^unix.LANDLOCK_SCOPE_SIGNAL)
	}
	r := &ruleset{handled: binary.NativeEndian.Uint64(attr), known: map[inode]*place{}}
	if err := r.know(root); err != nil {
		return nil, err
	}
	if r.fd, err = landlockCreateRuleset(attr); err != nil {
		return nil, fmt.Errorf("landlock_create_ruleset: %w", err)
	}
	if err := r.grant(root, unix.AT_FDCWD, "/", noRights, noRights); err != nil {
		unix.Close(r.fd)
		return nil, err
	}
	return r, nil
}

// scopedAt is where struct landlock_ruleset_attr has its scopes.
const scopedAt = 16

// threadsMaySignal reports whether threads of one process may signal each other
// though their domains are not the same: Landlock's erratum 2 is corrected. Where
// it is not, a thread that entered its domain first could not have the others
// follow: syscall.AllThreadsSyscall does that by signals, and would wait for ever.
func threadsMaySignal() bool {
	const askErrata, signals = 2, 1 << (2 - 1) // LANDLOCK_CREATE_RULESET_ERRATA
	errata, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, askErrata)
	return e == 0 && errata&signals != 0
}

// restrict has every thread enter the ruleset. No thread can be asked for its
// domain afterwards, but none can be without it either: LANDLOCK_RESTRICT_SELF_TSYNC
// (ABI 8) is the kernel's own promise, all threads or none, and one domain for all.
// Before, syscall.AllThreadsSyscall stops all threads, so that none is made
// meanwhile, has each make the call, and throws, which ends the program, when their
// results differ: an error of 0 is every thread's. A thread that is made later
// inherits the domain. (Threads that are not Go's come with cgo alone, with which
// an earlier step has failed.)
func (r *ruleset) restrict(abi int) error {
	if abi < abiTSYNC {
		return onAllThreads("landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0)
	}
	_, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), unix.LANDLOCK_RESTRICT_SELF_TSYNC, 0)
	return allThreadsError("landlock_restrict_self", e)
}

// know finds places that are one: rules are about files, whatever their names.
func (r *ruleset) know(p *place) error {
	var st unix.Stat_t
	if err := unix.Lstat(p.path, &st); err != nil {
		return nil // nothing in it exists either
	}
	id := inodeOf(&st)
	other := r.known[id]
	if other != nil && (p.says == nil || other.says == nil || p.access != other.access || len(p.inside)+len(other.inside) > 0) {
		m, at := p.says, other
		if m == nil {
			m, at = other.says, p
		}
		if m == nil {
			return fmt.Errorf("%s and %s are the same directory, which Landlock can't tell apart; name what is in it by one of the two alone", p.path, other.path)
		}
		return mountRefused(m, "it is the same file or directory as "+at.path+", of which the policy says otherwise, and Landlock can't tell the two apart", "leave one of the two out")
	}
	r.known[id] = p
	for _, name := range p.names() {
		if err := r.know(p.inside[name]); err != nil {
			return err
		}
	}
	return nil
}

// grant gives a place its rights. above are those that hold already, because a
// directory above has them; pending are those that a place has because its
// directory would, had it not been split.
func (r *ruleset) grant(p *place, dir int, name string, pending, above uint64) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) {
		return nil // there is nothing, or nothing that the program could reach
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	kept := false
	defer func() {
		if !kept {
			unix.Close(fd)
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFLNK {
		return nil // what it leads to has rights of its own
	}
	if p.says != nil {
		pending = p.access & r.handled &^ above
	}
	if kind != unix.S_IFDIR {
		kept = p.keep
		return r.add(fd, p.path, pending&plan.LandlockFileRights)
	}
	whole := pending & p.beneath()
	kept = p.keep && whole != 0
	if err := r.add(fd, p.path, whole); err != nil {
		return err
	}
	above |= whole
	rest := pending &^ whole
	if rest == 0 {
		for _, in := range p.names() {
			if err := r.grant(p.inside[in], fd, in, 0, above); err != nil {
				return err
			}
		}
		return nil
	}
	return r.split(p, fd, rest, above)
}

// split grants rights to the entries of a directory. Of those that the policy
// names something in, only a part is granted them.
func (r *ruleset) split(p *place, dir int, rights, above uint64) error {
	names, err := namesIn(dir)
	if errors.Is(err, unix.EACCES) && unix.Faccessat(dir, ".", unix.X_OK, unix.AT_EACCESS) != nil {
		return nil // the program can reach nothing in it
	}
	if err != nil {
		return fmt.Errorf("%s has to be granted entry by entry, as the policy protects a name in it, and it can't be listed: %w; make it readable, or take it out of what is shown", p.path, err)
	}
	for _, name := range names {
		if in := p.inside[name]; in != nil {
			if err := r.grant(in, dir, name, rights, above); err != nil {
				return err
			}
			continue
		}
		if err := r.entry(dir, name, path.Join(p.path, name), rights); err != nil {
			return err
		}
	}
	return nil
}

// entry grants rights to an entry of a split directory, and all below it.
func (r *ruleset) entry(dir int, name, full string, rights uint64) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EACCES) {
		return nil // gone meanwhile, or out of reach
	}
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFLNK {
		return nil
	}
	if other := r.known[inodeOf(&st)]; other != nil {
		if other.says == nil || len(other.inside) > 0 {
			return fmt.Errorf("%s is the same directory as %s, in which the policy protects a name, and Landlock can't tell the two apart; hide %s as well, or show only what is in it", full, other.path, full)
		}
		rights &= other.access // another name of a protected file
	}
	if kind != unix.S_IFDIR {
		rights &= plan.LandlockFileRights
	}
	return r.add(fd, full, rights)
}

// add adds a rule.
func (r *ruleset) add(fd int, full string, access uint64) error {
	if access == 0 {
		return nil // the kernel refuses a rule of nothing
	}
	if err := landlockAddRule(r.fd, &unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}); err != nil {
		return fmt.Errorf("landlock_add_rule %s: %w", full, err)
	}
	return nil
}

// namesIn lists a directory of which there is an O_PATH descriptor.
func namesIn(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}
