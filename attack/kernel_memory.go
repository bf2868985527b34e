package attack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What the kernel keeps for a process counts as its memory too: what waits in pipes and
// sockets, and the inodes of a tmpfs, which its size does not bound.

var (
	memoryPipes = limitedTo("memory 16M", kernelMemory("memory-pipes", "pipe(7), F_SETPIPE_SZ(2const)", "use more memory than the limit, as what waits in pipes", func() error {
		for range 24 { // of the 64 MiB that the kernel gives a user (pipe-user-pages-soft), for all that run at once
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				return err
			}
			if _, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<20); err != nil {
				return err
			}
			if err := stuff(p[1], 64<<10); err != nil {
				return err
			}
		}
		return nil
	}))
	memorySockets = kernelMemory("memory-sockets", "unix(7), SO_SNDBUF in socket(7)", "use more memory than the limit, as what waits in sockets", func() error {
		for range 300 {
			p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			for _, fd := range p {
				if err := stuff(fd, 32<<10); err != nil {
					return err
				}
			}
		}
		return nil
	})
	memoryInodes = limitedTo("memory 16M", kernelMemory("memory-inodes", "tmpfs(5) nr_inodes=", "use more memory than the limit, as empty files of /tmp", func() error {
		dir, err := os.MkdirTemp("/tmp", "bomb")
		if err != nil {
			return err
		}
		for i := range 30_000 { // twice the limit, and more
			fd, err := unix.Open(filepath.Join(dir, fmt.Sprint(i)), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			unix.Close(fd)
		}
		return nil
	}))
)

// Pages of files that were read are memory too. The kernel takes them back before it
// kills: what the limit leaves is a small part of the file.
var memoryPageCache = Attack{
	Name: "memory-page-cache", Group: "limits", Reference: "mincore(2), cgroups(7) memory",
	Tries:  "keep more of a file in memory than the limit",
	Limits: []string{"memory 32M"},
	Door:   []string{"read $DIR"},
	Stops:  []Stop{{memoryLimit, Hidden}},
	Needs: func() string {
		const tmpfs = 0x01021994 // TMPFS_MAGIC
		var fs unix.Statfs_t
		if unix.Statfs(os.TempDir(), &fs) == nil && fs.Type == tmpfs {
			return "temporary files are memory here, which is not taken back"
		}
		return withCgroup()
	},
	Outside: func(o *Outside) error {
		path := filepath.Join(o.Dir, "large")
		o.Tell("path", path)
		return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 128<<20))
	},
	Inside: func(in *Inside) error {
		f, err := os.Open(in.Arg("path"))
		if err != nil {
			return Failed(err)
		}
		defer f.Close()
		b, err := unix.Mmap(int(f.Fd()), 0, 128<<20, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return Failed(err)
		}
		page, sum := os.Getpagesize(), byte(0)
		for i := 0; i < len(b); i += page {
			sum += b[i]
		}
		there := make([]byte, len(b)/page)
		if _, err := Call(unix.SYS_MINCORE, addressOf(&b[0]), uintptr(len(b)), addressOf(&there[0])); err != nil {
			return err
		}
		n := 0
		for _, t := range there {
			n += int(t&1) + int(sum) // of zeroes
		}
		if n*page < 64<<20 {
			return NotFound(fmt.Sprintf("more than %d MiB of the file", n*page>>20))
		}
		return nil
	},
}

// Pages of 2 MiB are counted as what they are.
var memoryHugePages = func() Attack {
	a := memoryBomb("memory-huge-pages", "madvise(2) MADV_HUGEPAGE", "use more memory than the limit, in pages of 2 MiB", func(size int) error {
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		if err := unix.Madvise(b, unix.MADV_HUGEPAGE); err != nil {
			return err
		}
		for i := 0; i < len(b); i += 4096 { // or it gets the small pages that still fit
			b[i] = 1
		}
		kb, err := os.ReadFile("/proc/self/smaps_rollup")
		if err == nil && bytes.Contains(kb, []byte("AnonHugePages:         0 kB")) {
			return unix.ENOMEM // it has none, and no size was used
		}
		return err
	})
	a.Needs = func() string {
		if b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil || bytes.Contains(b, []byte("[never]")) {
			return "this kernel makes no huge pages of a program's memory"
		}
		return withCgroup()
	}
	return a
}()

func limitedTo(limit string, a Attack) Attack {
	a.Limits = []string{limit}
	return a
}

func kernelMemory(name, reference, tries string, take func() error) Attack {
	a := memoryBomb(name, reference, tries, func(int) error { return take() })
	a.Limits = []string{"memory 32M"}
	return a
}

// stuff writes to a pipe or socket until no more fits.
func stuff(fd, size int) error {
	piece := make([]byte, size)
	for {
		if _, err := unix.Write(fd, piece); err == unix.EAGAIN {
			return nil
		} else if err != nil {
			return err
		}
	}
}
