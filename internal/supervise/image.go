package supervise

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// memfd is a sealed memory file that holds a launcher image, and who uses it. One
// file may start many sandboxes where nobody can change anything of it that counts.
type memfd struct {
	fd     int
	users  atomic.Int32
	shared bool // false: it is to start one sandbox only
}

func (f *memfd) use() { f.users.Add(1) }

func (f *memfd) release() {
	if f.users.Add(-1) == 0 {
		unix.Close(f.fd)
	}
}

// sealExec is F_SEAL_EXEC (Linux 6.3): the file stays executable. What runs inside
// with the caller's id can come by the image, as the interpreter of a script for
// /proc/self/exe, and would have been able to keep the next sandbox from starting.
const sealExec = 0x20

// imageFile puts a launcher image in a sealed memfd, with one user: what runs as the
// set-up stage and stays as pid 1 can't be written to by anybody, not through
// /proc/self/exe either (CVE-2019-5736).
func imageFile(elf []byte) (*memfd, error) {
	// Linux 6.3 wants to be told that it will be executed; older kernels do not know the flag.
	fd, err := unix.MemfdCreate("cloche", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("cloche", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		if err == unix.EACCES {
			return nil, fmt.Errorf("launcher image: memfd_create: EACCES: vm.memfd_noexec=2 forbids executing memory files; set it to 1 or less (sysctl vm.memfd_noexec=1), or use an executable made by `cloche build`")
		}
		return nil, fmt.Errorf("launcher image: %w", os.NewSyscallError("memfd_create", err))
	}
	f := &memfd{fd: fd, shared: true}
	f.use()
	for at := 0; at < len(elf); {
		n, err := unix.Write(fd, elf[at:])
		if err != nil {
			f.release()
			return nil, fmt.Errorf("launcher image: %w", os.NewSyscallError("write", err))
		}
		at += n
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|sealExec)
	if err == unix.EINVAL {
		f.shared = false
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		f.release()
		return nil, fmt.Errorf("launcher image: sealing it: %w", os.NewSyscallError("fcntl", err))
	}
	return f, nil
}
