package cgroup

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// appendDirs appends the directories of a buffer of getdents64(2): inode, offset,
// length of the entry, type, and the name up to a zero byte.
func appendDirs(dirs []string, buf []byte) []string {
	const (
		lengthAt = 16
		typeAt   = 18
		nameAt   = 19
	)
	for len(buf) > nameAt {
		n := int(binary.NativeEndian.Uint16(buf[lengthAt:]))
		if n <= nameAt || n > len(buf) {
			break
		}
		name := buf[nameAt:n]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if buf[typeAt] == unix.DT_DIR && string(name) != "." && string(name) != ".." {
			dirs = append(dirs, string(name))
		}
		buf = buf[n:]
	}
	return dirs
}
