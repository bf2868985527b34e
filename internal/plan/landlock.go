package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Rights of landlock(7) on files, by what they allow.
const (
	landlockRead = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR

	// landlockFile are the rights that make sense for what is not a directory.
	landlockFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	// landlockProc: writing to files of /proc/self is ordinary, making any is not possible.
	landlockProc = landlockRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE

	landlockDevice = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// landlockHandled are the file rights that a kernel with the given ABI can
// refuse: 1 (5.13), 2 adds REFER (5.19), 3 TRUNCATE (6.2), 5 IOCTL_DEV (6.10).
func landlockHandled(abi int) uint64 {
	all := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1)
	if abi >= 2 {
		all |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		all |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		all |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return all
}

// landlock adds rules that say once more, independently of the mounts, what may
// be read and written, and (ABI 6) that no signal and no abstract socket
// reaches anything outside. It comes after the last mount: inside a Landlock
// domain no mount can be changed any more.
func (b *builder) landlock() {
	abi := b.in.Facts.LandlockABI
	if b.policy.Landlock == policy.LandlockOff || b.policy.Landlock == "" {
		return
	}
	if abi == 0 {
		b.p.Notes = append(b.p.Notes, "Landlock: this kernel has none, and the policy says where-available: the mounts alone decide what can be read and written")
		return
	}
	b.begin(Step{Process: Command, Name: "landlock", Kind: KindLandlock, Origin: b.policy.Origins["landlock.mode"]})
	handled := landlockHandled(abi)
	attr := landlockAttr(b.policy, abi)
	rules := b.tmp("ruleset")
	b.op(SysLandlockCreateRuleset, Ref(attr), Num(uint64(attr.Len())), Num(0)).to(rules)
	b.p.Landlock = b.landlockRules()
	for _, r := range b.p.Landlock {
		if access := r.Access & handled; access != 0 {
			b.landlockRule(rules, r.Path, access)
		}
	}
	b.op(SysLandlockRestrictSelf, Slot(rules), Num(0))
	b.op(SysClose, Slot(rules))
}

// landlockAttr is the struct landlock_ruleset_attr for a kernel's ABI: 4 (6.7)
// adds TCP ports, 6 (6.12) adds scopes.
func landlockAttr(p *policy.Policy, abi int) *Data {
	handled := landlockHandled(abi)
	if abi < 4 {
		return words("{handled_access_fs=…}", handled)
	}
	net := uint64(0)
	if p.Network == policy.NetworkNone {
		net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi < 6 {
		return words("{handled_access_fs=…, handled_access_net=…}", handled, net)
	}
	return words("{handled_access_fs=…, handled_access_net=…, scoped=LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET|LANDLOCK_SCOPE_SIGNAL}", handled, net,
		unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET|unix.LANDLOCK_SCOPE_SIGNAL)
}

// LandlockFileRights are the rights that a file, not a directory, can have.
const LandlockFileRights = landlockFile

// LandlockRuleset is the attribute of a policy's ruleset, struct
// landlock_ruleset_attr, for a program that confines itself.
func LandlockRuleset(p *policy.Policy, abi int) []byte { return landlockAttr(p, abi).Bytes }

// LandlockPath is what may be done below a path inside, by landlock(7)'s rights.
type LandlockPath struct {
	Path   string `json:"path"`
	Access uint64 `json:"access"`
}

// landlockRules are the rules of the mounts. One whose rights its surroundings
// have already is left out, as rights add up along a path.
func (b *builder) landlockRules() []LandlockPath {
	if b.join != nil {
		return b.join.Landlock
	}
	if !b.policy.Unshare.Mount {
		return []LandlockPath{{"/", ^uint64(0)}}
	}
	var rules []LandlockPath
	add := func(path string, access uint64) {
		for _, r := range rules {
			if (r.Path == "/" || r.Path == path || within(path, r.Path)) && access&^r.Access == 0 {
				return
			}
		}
		rules = append(rules, LandlockPath{path, access})
	}
	// A root of our own shows nothing but what is mounted in it; the directory
	// itself can be listed.
	if b.ownRoot {
		add("/", unix.LANDLOCK_ACCESS_FS_READ_DIR)
	}
	for i := range b.mounts {
		n := &b.mounts[i]
		if n.skip {
			continue
		}
		access := ^uint64(0)
		switch n.Kind {
		case policy.Read, policy.File:
			access = landlockRead
			if n.real == "/dev" || within(n.real, "/dev") {
				access |= landlockDevice
			}
		case policy.Dev:
			access = landlockDevice
		case policy.Proc:
			access = landlockProc
		case policy.Hide, policy.Symlink:
			continue
		}
		if !n.dir {
			access &= landlockFile
		}
		add(n.target, access)
		if n.Kind == policy.Dev {
			add(n.target+"/shm", ^uint64(0))
			add(n.target+"/mqueue", ^uint64(0))
		}
	}
	return rules
}

func (b *builder) landlockRule(rules Var, path string, access uint64) {
	fd := b.tmp("beneath")
	beneath := b.words(showBeneath, access, 0)
	beneath.Section = SetupRW
	next := Next
	if b.join != nil {
		// The command may have put something else there meanwhile: what is no directory or
		// file of this very name gets no rights by it.
		next = b.label()
		b.op(SysOpenat2, atFDCWD, b.path(path), Ref(howBeneath), Num(24)).to(fd).orElse(next)
	} else {
		b.op(SysOpenat, atFDCWD, b.path(path), Flags(cPath, cCloexec)).to(fd)
	}
	b.op(Store, RefAt(beneath, 8), Slot(fd), Num(4))
	b.op(SysLandlockAddRule, Slot(rules), named("LANDLOCK_RULE_PATH_BENEATH", unix.LANDLOCK_RULE_PATH_BENEATH), Ref(beneath), Num(0))
	b.op(SysClose, Slot(fd))
	if next != Next {
		b.mark(next)
	}
}

// howBeneath is the open_how of a path that a rule is about, for a command that joins.
var howBeneath = words("{flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS}",
	unix.O_PATH|unix.O_CLOEXEC, 0, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)

// showBeneath is a struct landlock_path_beneath_attr.
func showBeneath(d *Data) string {
	return "{allowed_access=" + landlockText(d.word(0)) + ", parent_fd=$beneath}"
}

// landlockText says rights as a person would.
func landlockText(access uint64) string {
	switch {
	case access == unix.LANDLOCK_ACCESS_FS_READ_DIR:
		return "list"
	case access&unix.LANDLOCK_ACCESS_FS_MAKE_REG != 0:
		return "read|write|make"
	case access&unix.LANDLOCK_ACCESS_FS_WRITE_FILE != 0 && access&unix.LANDLOCK_ACCESS_FS_READ_FILE != 0:
		return "read|write"
	}
	return "read|execute"
}
