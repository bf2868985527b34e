package observe

import (
	"github.com/cloche-sandbox/cloche/internal/learn"
)

// use is what a call does with a path.
type use uint8

const (
	looks     use = iota // at what is there
	looksLink            // at the link itself
	reads                // what is there
	changes              // what is there, not its name
	makes                // or removes or changes the name
	executes
	opens  // as its flags say, which are in the argument after the path
	opens2 // as struct open_how says, to which that argument points
	enters // a directory
)

// cwd stands for the argument of a call that has no directory.
const cwd = -1

// pathCall is an argument that is a path.
type pathCall struct {
	dir, path int // arguments: the descriptor that a relative path starts from, and the path
	use       use
}

// pathCalls are those of each call, by their man pages.
var pathCalls = map[string][]pathCall{
	"access":            {{cwd, 0, looks}},
	"acct":              {{cwd, 0, changes}},
	"chdir":             {{cwd, 0, enters}},
	"chmod":             {{cwd, 0, changes}},
	"chown":             {{cwd, 0, changes}},
	"chroot":            {{cwd, 0, enters}},
	"creat":             {{cwd, 0, opens}},
	"execve":            {{cwd, 0, executes}},
	"execveat":          {{0, 1, executes}},
	"faccessat":         {{0, 1, looks}},
	"faccessat2":        {{0, 1, looks}},
	"fchmodat":          {{0, 1, changes}},
	"fchmodat2":         {{0, 1, changes}},
	"fchownat":          {{0, 1, changes}},
	"futimesat":         {{0, 1, changes}},
	"getxattr":          {{cwd, 0, looks}},
	"inotify_add_watch": {{cwd, 1, reads}},
	"lchown":            {{cwd, 0, changes}},
	"lgetxattr":         {{cwd, 0, looksLink}},
	"link":              {{cwd, 0, reads}, {cwd, 1, makes}},
	"linkat":            {{0, 1, reads}, {2, 3, makes}},
	"listxattr":         {{cwd, 0, looks}},
	"llistxattr":        {{cwd, 0, looksLink}},
	"lsetxattr":         {{cwd, 0, changes}},
	"lstat":             {{cwd, 0, looksLink}},
	"mkdir":             {{cwd, 0, makes}},
	"mkdirat":           {{0, 1, makes}},
	"mknod":             {{cwd, 0, makes}},
	"mknodat":           {{0, 1, makes}},
	"newfstatat":        {{0, 1, looks}},
	"open":              {{cwd, 0, opens}},
	"openat":            {{0, 1, opens}},
	"openat2":           {{0, 1, opens2}},
	"readlink":          {{cwd, 0, looksLink}},
	"readlinkat":        {{0, 1, looksLink}},
	"removexattr":       {{cwd, 0, changes}},
	"rename":            {{cwd, 0, makes}, {cwd, 1, makes}},
	"renameat":          {{0, 1, makes}, {2, 3, makes}},
	"renameat2":         {{0, 1, makes}, {2, 3, makes}},
	"rmdir":             {{cwd, 0, makes}},
	"setxattr":          {{cwd, 0, changes}},
	"stat":              {{cwd, 0, looks}},
	"statfs":            {{cwd, 0, looks}},
	"statx":             {{0, 1, looks}},
	"symlink":           {{cwd, 1, makes}},
	"symlinkat":         {{1, 2, makes}},
	"truncate":          {{cwd, 0, changes}},
	"unlink":            {{cwd, 0, makes}},
	"unlinkat":          {{0, 1, makes}},
	"utime":             {{cwd, 0, changes}},
	"utimensat":         {{0, 1, changes}},
	"utimes":            {{cwd, 0, changes}},
}

// access is what learn is told of a use of a path that is there.
func (u use) access(directory bool) learn.Access {
	switch u {
	case changes:
		return learn.Write
	case executes:
		return learn.Read | learn.Execute
	case reads:
		return learn.Read
	}
	if directory {
		return learn.Passed
	}
	return learn.Read
}
