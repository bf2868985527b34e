package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// resultFile is where --result goes. A regular file appears whole or not at
// all; a pipe, a terminal or a device is written to as it is.
type resultFile struct {
	path   string
	direct *os.File
}

// prepareResult finds out before the command runs whether the file can be
// written. Nothing is made yet that a killed Cloche would leave behind.
func prepareResult(name string) (*resultFile, error) {
	bad := func(why string) (*resultFile, error) { return nil, fmt.Errorf("--result %s: %s", clip(name), why) }
	if name == "" {
		return nil, fmt.Errorf("--result: an empty path; name a file")
	}
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return bad("it is a directory; name a file")
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return bad(whyUnwritable(err))
		}
		return &resultFile{path: name, direct: f}, nil
	case err == nil:
		// The file that a link leads to is replaced, not the link.
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return bad(whyFile(err))
		}
	}
	dir := filepath.Dir(name)
	if info, err := os.Stat(dir); err != nil {
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
	return &resultFile{path: name}, nil
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
