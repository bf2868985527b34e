package host

import (
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Whole is the limit of ReadFD for files that are known to be small, such as the kernel's.
const Whole = math.MaxInt

// ReadFD reads a descriptor to its end with as few calls as can be: an [os.File] takes a dozen, and
// hundreds of files are read at a time. EFBIG: it has more bytes than most. It stays open.
func ReadFD(fd, most int) ([]byte, error) {
	data := make([]byte, 0, min(most, 4095)+1)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) > most {
			return nil, unix.EFBIG
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, 4*cap(data))
		}
	}
}
