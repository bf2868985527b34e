package cli

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// whyFile says why a file named by the user can't be used, and what to do.
func whyFile(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file; check the path"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied; make it readable for this user (chmod, chown)"
	case errors.Is(err, unix.EISDIR):
		return "it is a directory; name a file"
	case errors.Is(err, unix.ENOTDIR):
		return "a part of its path is not a directory; correct the path"
	case errors.Is(err, unix.ELOOP):
		return "its symbolic links go in circles; correct them"
	case errors.Is(err, unix.ENAMETOOLONG):
		return "its name is longer than the kernel takes; use a shorter one"
	case errors.Is(err, unix.EROFS):
		return "its file system is read-only; choose another place"
	case errors.Is(err, unix.ENOSPC):
		return "the disk is full; make room"
	}
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

// whyUnwritable says why a file can't be written.
func whyUnwritable(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "permission denied; make its directory writable for this user (chmod, chown), or choose another place"
	}
	return whyFile(err)
}
