package cli

import (
	"encoding/binary"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// Permission bits, as in one digit of a mode.
const (
	mayRead  = 4
	mayWrite = 2
	mayExec  = 1
)

// credentials are those of the command, in the ids of the host: what a user
// namespace calls them inside does not change what they may do.
type credentials struct {
	uid, gid   uint32
	groups     []uint32
	overrides  bool // CAP_DAC_OVERRIDE
	searches   bool // CAP_DAC_READ_SEARCH
	everywhere bool // capabilities hold for every file: no user namespace
	syslog     bool // CAP_SYSLOG over the machine
}

// credentialsInside are those that a caller's command has inside. privileged
// says that the caller has CAP_SETGID: then supplementary groups do not follow
// the command into a user namespace.
func credentialsInside(p *policy.Policy, uid, gid int, groups []int, privileged bool) credentials {
	c := credentials{uid: uint32(uid), gid: uint32(gid), everywhere: !p.Unshare.User}
	keep := true
	switch {
	case p.Unshare.User && privileged:
		keep = false
	case p.User.Mode == policy.UserRanges:
		keep = false
	case p.User.Mode == policy.UserSingle && !p.Unshare.User:
		c.uid, c.gid, keep = p.User.UID, p.User.GID, false
	}
	if keep {
		for _, g := range groups {
			c.groups = append(c.groups, uint32(g))
		}
	}
	for _, name := range p.Capabilities {
		switch name {
		case "CAP_DAC_OVERRIDE":
			c.overrides = true
		case "CAP_DAC_READ_SEARCH":
			c.searches = true
		case "CAP_SYSLOG":
			c.syslog = c.everywhere
		}
	}
	return c
}

func callersCredentials(p *policy.Policy) credentials {
	groups, _ := os.Getgroups() // without them fewer files are readable, not more
	facts, _ := host.Quick()
	return credentialsInside(p, os.Geteuid(), os.Getegid(), groups, facts.CapEff&(1<<unix.CAP_SETGID) != 0)
}

// permits reports whether the mode, the access list and the capabilities allow
// all of want, as the kernel decides it (path_resolution(7), acl(5)).
func (c *credentials) permits(n inode, acl []byte, want uint32) bool {
	if want&^c.digit(n, acl) == 0 {
		return true
	}
	// A capability counts where the file's owner and group are both known in
	// the user namespace.
	if !c.everywhere && (n.uid != c.uid || n.gid != c.gid) {
		return false
	}
	if c.overrides && (n.is(unix.S_IFDIR) || want&mayExec == 0 || n.mode&0o111 != 0) {
		return true
	}
	return c.searches && (want == mayRead || n.is(unix.S_IFDIR) && want&mayWrite == 0)
}

// digit is the permission digit that applies.
func (c *credentials) digit(n inode, acl []byte) uint32 {
	if n.uid == c.uid {
		return n.mode >> 6 & 7
	}
	if bits, ok := c.aclDigit(n, acl); ok {
		return bits
	}
	if c.in(n.gid) {
		return n.mode >> 3 & 7
	}
	return n.mode & 7
}

func (c *credentials) in(gid uint32) bool { return gid == c.gid || slices.Contains(c.groups, gid) }

// Tags of an entry of an access list, linux/posix_acl.h.
const (
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

// aclDigit evaluates an access list for somebody who is not the owner. The
// list is a word of version, then {tag uint16, perm uint16, id uint32}.
func (c *credentials) aclDigit(n inode, acl []byte) (bits uint32, ok bool) {
	if len(acl) < 4 || binary.LittleEndian.Uint32(acl) != 2 {
		return 0, false
	}
	mask, other := uint32(7), uint32(0)
	user, group := uint32(0), uint32(0)
	isUser, isGroup := false, false
	for e := acl[4:]; len(e) >= 8; e = e[8:] {
		tag, perm, id := binary.LittleEndian.Uint16(e), uint32(binary.LittleEndian.Uint16(e[2:])), binary.LittleEndian.Uint32(e[4:])
		switch tag {
		case aclUser:
			if id == c.uid {
				user, isUser = perm, true
			}
		case aclGroupObj:
			if c.in(n.gid) {
				group, isGroup = group|perm, true
			}
		case aclGroup:
			if c.in(id) {
				group, isGroup = group|perm, true
			}
		case aclMask:
			mask = perm
		case aclOther:
			other = perm
		}
	}
	switch {
	case isUser:
		return user & mask, true
	case isGroup:
		// The kernel wants one entry that has all bits; the union is the same
		// for a single bit, which is what is asked for here at a time.
		return group & mask, true
	}
	return other, true
}
