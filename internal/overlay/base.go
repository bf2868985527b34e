package overlay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

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

// write puts it into a new file of the store, which takes the place of an older one.
func (b base) write(dir int, name string) error {
	fd, err := unix.Openat(dir, name+".new", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = w.WriteString(baseMagic)
	var buf []byte
	for p, v := range b {
		buf = binary.AppendUvarint(buf[:0], uint64(len(p)))
		buf = append(buf, p...)
		buf, _ = binary.Append(buf, binary.LittleEndian, v)
		_, _ = w.Write(buf)
	}
	err = w.Flush() // has the error of any write before
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Renameat(dir, name+".new", dir, name)
	}
	return err
}

// readBase reads what write wrote.
func readBase(dir int, name string) (base, error) {
	fd, err := openBelow(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, len(baseMagic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != baseMagic {
		return nil, errors.New("it is no record of a directory's state")
	}
	b := base{}
	for {
		n, err := binary.ReadUvarint(r)
		if err == io.EOF {
			return b, nil
		}
		if err != nil || n > unix.PathMax*256 {
			return nil, errors.New("it is damaged")
		}
		p := make([]byte, n)
		var v version
		if _, err := io.ReadFull(r, p); err != nil {
			return nil, errors.New("it ends too early")
		}
		if err := binary.Read(r, binary.LittleEndian, &v); err != nil {
			return nil, errors.New("it ends too early")
		}
		b[string(p)] = v
	}
}
