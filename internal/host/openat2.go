package host

import (
	"golang.org/x/sys/unix"
)

// openTries is how often Openat2 asks before it gives up: somebody who renames
// without end could keep it busy otherwise.
const openTries = 128

// Openat2 is openat2(2), asked again when a signal or a race kept it from an answer: with
// RESOLVE_IN_ROOT or RESOLVE_BENEATH the kernel answers EAGAIN to a path with ".." in
// it, or in a link on its way, when anything at all was mounted or renamed on the
// machine meanwhile. EAGAIN comes back after 128 such answers.
func Openat2(dir int, name string, how *unix.OpenHow) (fd int, err error) {
	for range openTries {
		fd, err = unix.Openat2(dir, name, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}
