// Package overlay keeps the changes of a sandbox that runs on an overlay apart, lists
// them, and brings them over.
//
// The changes of a named sandbox are the upper layer of an overlayfs in the store, a
// directory of the user's. What is in there was made by somebody nobody trusts, also while
// it is read; and what lies below, the directory itself, may be changed by others at the
// same time. So everything is opened by openat2(2) below one of two descriptors, never
// through a link or another mount, and what is brought over takes the place of what was
// there by an exchange, which is taken back when that was not what it should be.
//
// The marks of overlayfs are those that the kernel documents
// (Documentation/filesystems/overlayfs.rst): a whiteout is a character device 0/0 or
// a file marked so, a directory may be opaque or redirected, and a file may have its
// metadata alone in the upper layer (metacopy).
package overlay

import "golang.org/x/sys/unix"

// Kind is what happened to a name.
type Kind string

// The values of Kind.
const (
	Added   Kind = "added"
	Changed Kind = "changed"
	Removed Kind = "removed"
)

// Change is a difference between the directory and what the sandbox saw in its place.
type Change struct {
	Path string   `json:"path"` // below the directory
	Kind Kind     `json:"kind"`
	Type string   `json:"type"`           // of what the sandbox left there: "file", "directory", "symlink", …; of what it removed
	Was  string   `json:"was,omitempty"`  // another type that was there before
	What []string `json:"what,omitempty"` // of what is changed: "content", "mode", "owner", "attributes", "type"; "time" alone

	// Refused is why Apply does not bring it over; "": it does.
	Refused string `json:"refused,omitempty"`

	now, before *node // in the merged tree, in the directory
}

// Layer is an overlay: a directory, and the changes that are kept apart from it.
type Layer struct {
	Dir string `json:"dir"` // the directory

	Dev, Ino  uint64 // of Dir
	UserXattr bool   // marks are in user.overlay.* and not in trusted.overlay.*
	Root      Meta   // of the upper layer's own directory when it was made

	at string // its directory in the store
}

// Meta is what chmod(1) and chown(1) change.
type Meta struct {
	Mode, UID, GID uint32
}

func metaOf(st *unix.Stat_t) Meta {
	return Meta{Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
}

// marks is the prefix of the attributes that overlayfs keeps for itself.
func (l *Layer) marks() string {
	if l.UserXattr {
		return "user.overlay."
	}
	return "trusted.overlay."
}

// typeName is a file's type in words.
func typeName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}
