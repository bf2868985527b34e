package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// archive writes a cpio in the "newc" form, which the kernel unpacks as its initramfs
// (kernel: driver-api/early-userspace/buffer-format). All is root's in it.
type archive struct {
	w    *bufio.Writer
	n    int64
	ino  int
	dirs map[string]bool
	err  error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriterSize(w, 1<<20), dirs: map[string]bool{}}
}

// entry writes one header with its name; the content follows.
func (a *archive) entry(name string, mode uint32, size int64) {
	a.ino++
	links := 1
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		links = 2
	}
	a.printf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.ino, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
}

func (a *archive) printf(format string, args ...any) {
	n, err := fmt.Fprintf(a.w, format, args...)
	a.n += int64(n)
	if a.err == nil {
		a.err = err
	}
}

// pad fills up to a multiple of four.
func (a *archive) pad() {
	for a.n%4 != 0 {
		a.printf("\x00")
	}
}

// mkdir makes a directory with those above it, once.
func (a *archive) mkdir(name string, mode uint32) {
	if name == "." || name == "" || a.dirs[name] {
		return
	}
	a.mkdir(filepath.Dir(name), 0o755)
	a.dirs[name] = true
	a.entry(name, syscall.S_IFDIR|mode, 0)
}

// bytes makes a file.
func (a *archive) bytes(name string, mode uint32, content []byte) {
	a.mkdir(filepath.Dir(name), 0o755)
	a.entry(name, syscall.S_IFREG|mode, int64(len(content)))
	n, err := a.w.Write(content)
	a.n += int64(n)
	if a.err == nil {
		a.err = err
	}
	a.pad()
}

func (a *archive) symlink(name, to string) {
	a.mkdir(filepath.Dir(name), 0o755)
	a.entry(name, syscall.S_IFLNK|0o777, int64(len(to)))
	a.printf("%s", to)
	a.pad()
}

// file makes a file of one of the host's.
func (a *archive) file(name, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	fi, err := os.Stat(from)
	if err != nil {
		return err
	}
	a.bytes(name, modeOf(fi), b)
	return nil
}

// tree takes a directory of the host's over, below at.
func (a *archive) tree(at, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Join(at, strings.TrimPrefix(path, from))
		fi, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			a.mkdir(name, modeOf(fi))
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			a.symlink(name, to)
		case fi.Mode().IsRegular():
			return a.file(name, path)
		}
		return nil
	})
}

func modeOf(fi fs.FileInfo) uint32 {
	return fi.Sys().(*syscall.Stat_t).Mode &^ syscall.S_IFMT
}

// close ends the archive; another may follow it in the same file.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0)
	for a.n%512 != 0 {
		a.printf("\x00")
	}
	if err := a.w.Flush(); a.err == nil {
		a.err = err
	}
	return a.err
}
