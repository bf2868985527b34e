package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// version is what tells that a file is still what it was. The kernel sets ctime whenever
// content or metadata change, and lets nobody choose it.
type version struct {
	Mode, UID, GID     uint32
	Ino, Rdev          uint64
	Size, Mtime, Ctime int64
}

func versionOf(st *unix.Stat_t) version {
	return version{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, Ino: st.Ino, Rdev: uint64(st.Rdev),
		Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// same reports whether st is of the same file in the same state. Of a directory it is
// the metadata that counts: its times change with what is in it, which is looked at on its own.
func (v version) same(st *unix.Stat_t) bool {
	w := versionOf(st)
	if v.Mode&unix.S_IFMT == unix.S_IFDIR {
		return v.Mode == w.Mode && v.UID == w.UID && v.GID == w.GID
	}
	return v == w
}

// base is the state of the directory when the sandbox was started, by path.
type base map[string]version

// snapshot looks at everything below a directory. What this user may not list is left out:
// the sandbox can't change it either.
func snapshot(dir int) (base, error) {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return nil, err
	}
	b := base{".": versionOf(&st)}
	return b, b.add(dir, "", 0)
}

// maxDepth bounds how deep trees are followed: the descriptors on the way are all open.
const maxDepth = 1000

var errDeep = fmt.Errorf("directories are nested more than %d deep", maxDepth)

func (b base) add(dir int, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: %w", prefix, errDeep)
	}
	all, err := names(dir)
	if err != nil {
		return err
	}
	for _, name := range all {
		st, ok, err := stat(dir, name)
		if err != nil {
			return fmt.Errorf("%s%s: %w", prefix, name, err)
		}
		if !ok {
			continue // it is gone already
		}
		b[prefix+name] = versionOf(&st)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		fd, err := openDir(dir, name)
		switch err {
		case nil:
		case unix.EACCES, unix.EXDEV, unix.ENOENT, unix.ELOOP, unix.ENOTDIR:
			continue // not ours to list, a mount, or replaced a moment ago
		default:
			return fmt.Errorf("%s%s: %w", prefix, name, err)
		}
		err = b.add(fd, prefix+name+"/", depth+1)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

const baseMagic = "cloche base 1\n"

// baseName is the file of a store that holds the base of a layer.
func (l *Layer) baseName() string { return "base-" + l.at }

func (s *Store) writeBase(l *Layer, b base) error {
	data := make([]byte, 0, 96*len(b)+len(baseMagic))
	data = append(data, baseMagic...)
	for p, v := range b {
		data = binary.AppendUvarint(data, uint64(len(p)))
		data = append(data, p...)
		data, _ = binary.Append(data, binary.LittleEndian, v) // of fixed size: there is no error
	}
	return s.entry.Write(l.baseName(), data)
}

func (s *Store) readBase(l *Layer) (base, error) {
	data, err := s.entry.Read(l.baseName())
	if err != nil {
		return nil, err
	}
	damaged := fmt.Errorf("%s is damaged", s.entry.Path(l.baseName()))
	data, ok := bytes.CutPrefix(data, []byte(baseMagic))
	if !ok {
		return nil, damaged
	}
	b := base{}
	for len(data) > 0 {
		n, used := binary.Uvarint(data)
		if used <= 0 || n > uint64(len(data)-used) {
			return nil, damaged
		}
		p := string(data[used : used+int(n)])
		data = data[used+int(n):]
		var v version
		size, err := binary.Decode(data, binary.LittleEndian, &v)
		if err != nil {
			return nil, damaged
		}
		b[p], data = v, data[size:]
	}
	return b, nil
}
