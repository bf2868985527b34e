package attack

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What the kernel keeps for a process counts as its memory too: what waits in pipes and
// sockets, and the inodes of a tmpfs, which its size does not bound.

var (
	memoryPipes = kernelMemory("memory-pipes", "pipe(7), F_SETPIPE_SZ(2const)", "use more memory than the limit, as what waits in pipes", func() error {
		for range 56 { // of the 64 MiB that the kernel gives a user (pipe-user-pages-soft)
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
	})
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
	memoryInodes = kernelMemory("memory-inodes", "tmpfs(5) nr_inodes=", "use more memory than the limit, as empty files of /tmp", func() error {
		dir, err := os.MkdirTemp("/tmp", "bomb")
		if err != nil {
			return err
		}
		for i := range 100_000 {
			fd, err := unix.Open(filepath.Join(dir, fmt.Sprint(i)), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			unix.Close(fd)
		}
		return nil
	})
)

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
