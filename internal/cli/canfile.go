package cli

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

func no(why string, pl *place) (answer, error) { return answer{Why: why, Rule: pl.rule()}, nil }
func yes(why string, pl *place) (answer, error) {
	return answer{Yes: true, Why: why, Rule: pl.rule()}, nil
}

// errDepends is for what only a running command decides.
var errDepends = errors.New("it depends on the running command, or only a privileged user can look at it; ask about a file that you can see")

// missing answers for a path that leads nowhere.
func (o *oracle) missing(name string, err error, fix string) (answer, error) {
	var l *lost
	if !errors.As(err, &l) {
		return answer{}, err
	}
	a := answer{Rule: l.place.rule()}
	switch l.errno {
	case unix.EXDEV:
		return answer{}, errDepends
	case unix.EACCES, unix.EPERM:
		a.Why = l.at + " may not be entered by the ids inside"
		if l.place != nil && l.place.kind == policy.Hide {
			a.Why = "it is hidden"
		}
		return a, nil
	case unix.ELOOP:
		a.Why = "its symbolic links go in circles"
		return a, nil
	case unix.ENOTDIR:
		a.Why = l.at + " is not a directory"
		return a, nil
	case unix.ENOENT:
	default:
		a.Why = l.at + ": " + unix.ErrnoName(l.errno)
		return a, nil
	}
	clean := path.Clean(name)
	if _, _, outside := realPath(o.v.host, clean); outside != nil {
		a.Why = "it exists neither outside nor inside"
		if l.place == nil {
			a.Why = "nothing shows it inside, and it does not exist outside"
		}
		return a, nil
	}
	if l.at != clean && l.place != nil && l.place.kind != policy.Tmpfs {
		a.Why = "it leads to " + l.at + ", which does not exist"
	}
	if l.place == nil {
		a.Why = "nothing shows it inside"
	}
	if a.Why == "" {
		a.Why = "something else is in its place"
	}
	a.Fix = fix + " " + shellWord(clean)
	return a, nil
}

// read is about open(2) with O_RDONLY, and for a directory about listing it.
func (o *oracle) read(name string) (answer, error) {
	n, err := o.v.walk(name)
	if err != nil {
		return o.missing(name, err, "--read")
	}
	right := uint64(unix.LANDLOCK_ACCESS_FS_READ_FILE)
	if n.is(unix.S_IFDIR) {
		right = unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	if a, refused := o.common(n, mayRead, right); refused {
		return a, nil
	}
	return yes("it is readable", n.place)
}

// common are the reasons that hold for reading and writing.
func (o *oracle) common(n *node, want uint32, right uint64) (answer, bool) {
	a := answer{Rule: n.place.rule()}
	switch {
	case n.is(unix.S_IFSOCK):
		a.Why = "it is a socket, which can't be opened (ask: connect " + n.path + ")"
	case n.refuse&want != 0:
		a.Why = n.why
	case n.place != nil && n.place.kind == policy.Hide && !o.v.permits(n, want):
		a.Why = "it is hidden"
	case !o.v.permits(n, want):
		a.Why = "its mode does not let the ids inside" + o.root()
		a.Rule = ""
	case want&mayWrite != 0 && n.lower && !o.v.known(n):
		a.Why = "its owner has no id inside, so overlayfs can't copy it up"
	case (n.is(unix.S_IFCHR) || n.is(unix.S_IFBLK)) && n.noDev:
		a.Why = "it is a device, and devices outside of a /dev of the sandbox do not work"
	case o.v.landlocked(n.path, right):
		a.Why = "Landlock refuses it for a " + n.describe() + " here"
	default:
		return a, false
	}
	return a, true
}

// known reports whether a file's owner and group have ids inside.
func (v *view) known(n *node) bool {
	return v.who.everywhere || n.uid == v.who.uid && n.gid == v.who.gid
}

// root explains why root is refused.
func (o *oracle) root() string {
	if o.v.who.uid == 0 && !o.v.who.overrides {
		return " (root without CAP_DAC_OVERRIDE has an owner's permissions and no more)"
	}
	return ""
}

// write is about open(2) with O_WRONLY, for a directory about making a file in
// it, and for a name that does not exist about making it.
func (o *oracle) write(name string) (answer, error) {
	n, err := o.v.walk(name)
	var l *lost
	if errors.As(err, &l) && l.dir != nil {
		a, err := o.makeIn(l.dir)
		if a.Yes {
			a.Why = "it does not exist and can be made"
		} else if _, _, outside := realPath(o.v.host, path.Clean(name)); outside == nil && err == nil {
			return o.missing(name, l, "--write")
		}
		return a, err
	}
	if err != nil {
		return o.missing(name, err, "--write")
	}
	if n.is(unix.S_IFDIR) {
		return o.makeIn(n)
	}
	if n.readOnly && n.is(unix.S_IFREG) && (n.place == nil || n.place.kind != policy.Hide) {
		return o.onlyReadable(n)
	}
	if a, refused := o.common(n, mayWrite, unix.LANDLOCK_ACCESS_FS_WRITE_FILE); refused {
		return a, nil
	}
	if n.immutable && !n.is(unix.S_IFCHR) && !n.is(unix.S_IFBLK) {
		return no("it is immutable (chattr +i)", nil)
	}
	return yes("it is writable", n.place)
}

// onlyReadable is for what lies on a read-only mount.
func (o *oracle) onlyReadable(n *node) (answer, error) {
	a := answer{Why: "it is read-only", Rule: n.place.rule()}
	switch {
	case n.place == nil:
		a.Why, a.Fix = "the sandbox's own root is read-only", "--tmpfs "+shellWord(n.path)
		if n.path == "/" {
			a.Fix = ""
		}
	case n.place.kind == policy.Write:
		a.Why = "its file system is mounted read-only outside"
	case n.place.kind == policy.Read && n.hostPath == n.path:
		a.Fix = "--write " + shellWord(n.path)
	case n.place.kind == policy.Read:
		a.Fix = "--bind " + shellWord(n.hostPath+":"+n.path+":rw")
	}
	return a, nil
}

// makeIn is about making a file in a directory.
func (o *oracle) makeIn(dir *node) (answer, error) {
	if dir.readOnly && (dir.place == nil || dir.place.kind != policy.Hide) {
		return o.onlyReadable(dir)
	}
	if a, refused := o.common(dir, mayWrite|mayExec, unix.LANDLOCK_ACCESS_FS_MAKE_REG); refused {
		return a, nil
	}
	if dir.place != nil && (dir.place.kind == policy.Proc || dir.place.kind == policy.Dev && dir.path == dir.place.target+"/pts") {
		return no("no file can be made in "+dir.path, dir.place)
	}
	if dir.immutable {
		return no(dir.path+" is immutable (chattr +i)", nil)
	}
	return yes("files can be made in "+dir.path, dir.place)
}

// exec is about execve(2): the file and the interpreters that it needs.
func (o *oracle) exec(name string) (answer, error) {
	n, err := o.v.walk(name)
	if err != nil {
		a, err := o.missing(name, err, "--read")
		if a.Fix != "" && o.p.ShowCommand {
			a.Why += ", unless it is the command itself"
			a.Rule = "filesystem.show-command = true" + from(o.p, "filesystem.show-command")
		}
		return a, err
	}
	top := n
	for depth := 0; ; depth++ {
		what := "it"
		if n != top {
			what = "its interpreter " + n.path
		}
		switch {
		case !n.is(unix.S_IFREG):
			return no(what+" is a "+n.describe()+" and no program", n.place)
		case n.place != nil && n.place.kind == policy.Hide:
			return no(what+" is hidden", n.place)
		case n.noExec:
			return no(what+" lies on a mount without exec", n.place)
		case !o.v.permits(n, mayExec):
			return no("the mode of "+what+" does not let the ids inside execute it"+o.root(), nil)
		case o.v.landlocked(n.path, unix.LANDLOCK_ACCESS_FS_EXECUTE):
			return no("Landlock refuses it for "+what, n.place)
		}
		if n.hostPath == "" || depth == maxInterpreters {
			break
		}
		next, kind := interpreterOf(o.v.host, n.hostPath)
		if next == "" && kind != "" {
			return no("the first line of "+what+" names no "+kind, n.place)
		}
		if next == "" {
			break
		}
		if !path.IsAbs(next) {
			next = path.Join(o.p.Cwd, next)
		}
		if n, err = o.v.walk(next); err != nil {
			a, err := o.missing(next, err, "--read")
			a.Why = "its " + kind + " " + next + ": " + a.Why
			return a, err
		}
	}
	return yes("it can be executed", top.place)
}
