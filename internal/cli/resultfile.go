package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// resultFile is where --result goes. A regular file of its own name appears whole
// or not at all; whatever else a name leads to is written to as it is: a pipe, a
// terminal, a device, or a descriptor, behind which may be a file that others are
// writing to as well.
type resultFile struct {
	path   string
	direct *os.File
}

// prepareResult finds out before the command runs whether the file can be
// written. Nothing is made yet that a killed Cloche would leave behind.
func prepareResult(name string) (*resultFile, error) {
	bad := func(why string) (*resultFile, error) { return nil, fmt.Errorf("--result %s: %s", clip(name), why) }
	if name == "" {
		return nil, fmt.Errorf("--result \"\": an empty path; name a file, or leave it out")
	}
	target, direct, err := whatLeadsTo(name)
	if err != nil {
		return bad(whyUnwritable(err))
	}
	if direct {
		// A descriptor is not opened anew, where it can be used: that would begin
		// at the start of the file, and needs a permission that was given to
		// whoever opened it.
		f, err := openDirect(target)
		if err != nil {
			return bad(whyUnwritable(err))
		}
		return &resultFile{path: name, direct: f}, nil
	}
	info, err := os.Lstat(target)
	if err == nil && info.IsDir() {
		return bad("it is a directory; name a file")
	}
	dir := filepath.Dir(target)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrPermission) {
		return bad("its directory " + dir + " can't be entered by this user; choose another place")
	} else if err != nil {
		return bad("its directory " + dir + ": " + whyFile(err))
	} else if !info.IsDir() {
		return bad(dir + " is not a directory; choose another place")
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		if err == unix.EACCES {
			return bad("its directory " + dir + " is not writable for this user; choose another place")
		}
		return bad("its directory " + dir + ": " + whyFile(err))
	}
	return &resultFile{path: target}, nil
}

// whatLeadsTo follows the symbolic links of a name one by one. direct says that it
// ends at something that is written to as it is. A link of /proc to a descriptor
// can't be told from the file by its text: it is where following ends.
func whatLeadsTo(name string) (target string, direct bool, err error) {
	for range maxLinks {
		var at unix.Statfs_t
		if err := unix.Statfs(filepath.Dir(name), &at); err == nil && at.Type == unix.PROC_SUPER_MAGIC && !leadsOnInProc(name) {
			return name, true, nil
		}
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			return name, false, nil // it is made, or its directory is at fault, which comes later
		case err != nil:
			return "", false, err
		case info.Mode()&fs.ModeSymlink == 0:
			return name, !info.Mode().IsRegular() && !info.IsDir(), nil
		}
		to, err := os.Readlink(name)
		if err != nil {
			return "", false, err
		}
		if !filepath.IsAbs(to) {
			// Not filepath.Join, which takes "link/.." for nothing.
			to = filepath.Dir(name) + "/" + to
		}
		name = to
	}
	return "", false, unix.ELOOP
}

// leadsOnInProc reports whether a name in /proc is a link by its text: /proc/self.
func leadsOnInProc(name string) bool {
	base := filepath.Base(name)
	return base == "self" || base == "thread-self"
}

// openDirect opens what is written to as it is.
func openDirect(name string) (*os.File, error) {
	if fd, ok := ownDescriptor(name); ok {
		if mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errNotOpen}
		} else if mode&unix.O_ACCMODE == unix.O_RDONLY {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errReadOnly}
		}
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		return os.NewFile(uintptr(dup), name), nil
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_APPEND|unix.O_NOCTTY, 0)
}

var (
	errNotOpen  = errors.New("this descriptor is not open; open it first, such as with 3>FILE in a shell")
	errReadOnly = errors.New("this descriptor is open for reading alone; open it for writing")
)

// ownDescriptor is the number in a path such as /proc/self/fd/2, where that is one
// of this process.
func ownDescriptor(name string) (fd int, ok bool) {
	dir, err := os.Stat(filepath.Dir(name))
	if err != nil {
		return 0, false
	}
	for _, own := range [...]string{"/proc/self/fd", "/proc/thread-self/fd"} {
		if info, err := os.Stat(own); err == nil && os.SameFile(info, dir) {
			n, err := strconv.ParseUint(filepath.Base(name), 10, 31)
			return int(n), err == nil
		}
	}
	return 0, false
}

// failedResult is that of a command that never ran.
func failedResult(code int) *sandbox.Result {
	return &sandbox.Result{Reason: sandbox.Setup, ExitCode: code, PeakMemory: -1, PeakProcesses: -1, OOMKills: -1, Throttled: -1}
}

// write writes the result where one was asked for, and returns the exit status.
func (f *resultFile) write(r *sandbox.Result, message string, code int) int {
	if f == nil || r == nil {
		return code
	}
	if err := f.save(r, message); err != nil {
		return fail(fmt.Errorf("--result %s: %s", clip(f.path), whyUnwritable(err)))
	}
	return code
}

func (f *resultFile) save(r *sandbox.Result, message string) error {
	data, err := json.Marshal(struct {
		*sandbox.Result
		Error string `json:"error,omitempty"` // why the command never ran
	}{r, message})
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if f.direct != nil {
		defer f.direct.Close()
		_, err := f.direct.Write(data)
		return err
	}
	return writeWhole(f.path, data, 0o644)
}

// writeWhole replaces a file in one step: who reads it sees the old content or
// the new.
func writeWhole(name string, data []byte, mode os.FileMode) error {
	t, err := os.CreateTemp(filepath.Dir(name), ".cloche-*")
	if err != nil {
		return err
	}
	_, err = t.Write(data)
	if err == nil {
		err = t.Chmod(mode &^ umask())
	}
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(t.Name(), name)
	}
	if err != nil {
		os.Remove(t.Name())
	}
	return err
}

func umask() os.FileMode {
	m := unix.Umask(0o077)
	unix.Umask(m)
	return os.FileMode(m)
}
