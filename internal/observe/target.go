package observe

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/learn"
	"github.com/cloche-sandbox/cloche/internal/program"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// target is a thread that waits in a call.
type target struct {
	l       *seccomp.Listener
	n       *seccomp.Notification
	program string
	memory  *seccomp.Memory // nil before it is needed
	root    int             // its root directory, as a descriptor; 0: not opened
	failed  bool
}

func (t *target) close() {
	if t.memory != nil {
		t.memory.Close()
	}
	if t.root > 0 {
		unix.Close(t.root)
	}
}

// look notes the paths and the address of a call.
func (t *target) look(o *Observer, name string) {
	for _, c := range pathCalls[name] {
		text, ok := t.path(t.n.Data.Args[c.path])
		if !ok || text == "" { // the descriptor itself is meant (AT_EMPTY_PATH), or nothing
			continue
		}
		dir := unix.AT_FDCWD
		if c.dir != cwd {
			dir = int(int32(t.n.Data.Args[c.dir]))
		}
		t.use(o, dir, text, c, name)
	}
	t.lookAtAddress(o, name)
}

// path reads a path from the target's memory.
func (t *target) path(addr uint64) (string, bool) {
	if addr == 0 {
		return "", false
	}
	m, ok := t.mem()
	if !ok {
		return "", false
	}
	s, err := m.ReadString(addr, unix.PathMax)
	if err != nil && !errors.Is(err, seccomp.ErrGone) {
		t.failed = true
	}
	return s, err == nil
}

func (t *target) mem() (*seccomp.Memory, bool) {
	if t.memory == nil {
		m, err := t.l.Memory(t.n)
		if err != nil {
			t.failed = !errors.Is(err, seccomp.ErrGone)
			return nil, false
		}
		t.memory = m
	}
	return t.memory, true
}

// use notes what a call does with a path.
func (t *target) use(o *Observer, dir int, text string, c pathCall, call string) {
	u, flags := c.use, uint64(0)
	switch {
	case call == "creat":
		flags = unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC
	case u == opens:
		flags = t.n.Data.Args[c.path+1]
	case u == opens2:
		var how [8]byte
		if m, ok := t.mem(); ok {
			_, _ = m.ReadAt(how[:], int64(t.n.Data.Args[c.path+1]))
		}
		flags = binary.NativeEndian.Uint64(how[:])
	}
	name, ok := t.absolute(dir, text)
	if !ok {
		return
	}
	if m, ok := o.during.MountAt(path.Clean(name)); ok && (m.Kind == policy.Proc || m.Kind == policy.Dev) {
		return // of the sandbox's own, and the same under every policy that has them
	}
	add := func(name string, a learn.Access) { o.Files.Add(name, a, t.program) }
	if u == makes || flags&unix.O_TMPFILE == unix.O_TMPFILE {
		if u != makes {
			name += "/tmp"
		}
		parent, base := path.Split(strings.TrimRight(name, "/"))
		if found, ok := t.find(parent, false); ok && t.valid() {
			add(path.Join(found.real, base), learn.Make)
		}
		return
	}
	found, exists := t.find(name, u == looksLink || flags&unix.O_NOFOLLOW != 0)
	if !t.valid() {
		return
	}
	var a learn.Access
	switch {
	case !exists && flags&unix.O_CREAT != 0:
		if parent, ok := t.find(path.Dir(path.Clean(name)), false); ok && t.valid() {
			add(path.Join(parent.real, path.Base(name)), learn.Make|learn.Write)
		}
		return
	case !exists:
		add(name, learn.Looked)
		return
	case u == opens || u == opens2:
		a = accessOfOpen(flags, found.directory)
	default:
		a = u.access(found.directory)
	}
	add(found.real, a)
	if found.real != path.Clean(name) && !strings.Contains(name, "..") {
		add(name, a) // by way of a link, which has to be there too
	}
	if u == executes {
		for _, needed := range found.interpreters {
			if f, ok := t.find(needed, false); ok && t.valid() {
				add(f.real, learn.Read|learn.Execute)
				add(needed, learn.Read|learn.Execute)
			}
		}
	}
}

// accessOfOpen is what open(2) asks for.
func accessOfOpen(flags uint64, directory bool) (a learn.Access) {
	if flags&unix.O_PATH != 0 {
		return looks.access(directory)
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		a = learn.Read
	case unix.O_WRONLY:
		a = learn.Write
	default:
		a = learn.Read | learn.Write
	}
	if flags&unix.O_TRUNC != 0 {
		a |= learn.Write
	}
	return a
}

// absolute is a path in the target's mount namespace, not resolved.
func (t *target) absolute(dir int, text string) (string, bool) {
	proc := "/proc/" + strconv.Itoa(t.n.PID)
	if text[0] == '/' {
		return text, true
	}
	link := proc + "/cwd"
	if dir != unix.AT_FDCWD {
		link = proc + "/fd/" + strconv.Itoa(dir)
	}
	at, err := os.Readlink(link)
	if err != nil || at == "" || at[0] != '/' { // it fails with EBADF or ENOTDIR
		return "", false
	}
	root, err := os.Readlink(proc + "/root")
	if err != nil || !t.valid() {
		return "", false
	}
	if root != "/" { // chroot(2): what find returns starts there
		rest, ok := strings.CutPrefix(at, root)
		if !ok {
			return "", false
		}
		at = "/" + strings.TrimPrefix(rest, "/")
	}
	return strings.TrimSuffix(at, "/") + "/" + text, true
}

// file is what a path leads to.
type file struct {
	real         string // without links, in the mount namespace of the target
	directory    bool
	interpreters []string // that the kernel loads to execute it
}

// find looks a path up as the target would. Nothing is opened but as a path, or
// after it was seen to be a regular file.
func (t *target) find(name string, noFollow bool) (f file, ok bool) {
	if t.root == 0 {
		fd, err := unix.Open("/proc/"+strconv.Itoa(t.n.PID)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil || !t.valid() {
			if err == nil {
				unix.Close(fd)
			}
			t.failed = true
			return f, false
		}
		t.root = fd
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	if noFollow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := host.Openat2(t.root, name, &how)
	if err != nil {
		t.failed = t.failed || err == unix.EAGAIN // whether it is there is not known
		return f, false
	}
	defer unix.Close(fd)
	self := "/proc/self/fd/" + strconv.Itoa(fd)
	var st unix.Stat_t
	if f.real, err = os.Readlink(self); err != nil || unix.Fstat(fd, &st) != nil || !strings.HasPrefix(f.real, "/") {
		return f, false
	}
	f.directory = st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
		f.interpreters = interpreters(self)
	}
	return f, true
}

// interpreters are a script's and a program's, execve(2).
func interpreters(name string) []string {
	r, err := os.Open(name)
	if err != nil {
		return nil // executable and not readable, or gone
	}
	defer r.Close()
	if words := program.Script(r); len(words) > 0 {
		return words[:1]
	}
	e, err := elf.NewFile(r)
	if err != nil {
		return nil
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz <= unix.PathMax {
			text := make([]byte, p.Filesz)
			if _, err := p.ReadAt(text, 0); err == nil {
				return []string{strings.TrimRight(string(text), "\x00")}
			}
		}
	}
	return nil
}

// valid reports whether what was found by the target's pid was the target's.
func (t *target) valid() bool { return t.l.Valid(t.n.ID) }
