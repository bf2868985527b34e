package supervise

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// imageFile puts a launcher image in a sealed memfd: what runs as the set-up
// stage and stays as pid 1 can't be written to by anybody, not through
// /proc/self/exe either (CVE-2019-5736).
func imageFile(elf []byte) (int, error) {
	// Linux 6.3 wants to be told that it will be executed; older kernels do not know the flag.
	fd, err := unix.MemfdCreate("cloche", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("cloche", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		if err == unix.EACCES {
			return -1, fmt.Errorf("launcher image: memfd_create: EACCES: vm.memfd_noexec=2 forbids executing memory files; set it to 1 or less (sysctl vm.memfd_noexec=1), or use an executable made by `cloche build`")
		}
		return -1, fmt.Errorf("launcher image: %w", os.NewSyscallError("memfd_create", err))
	}
	for at := 0; at < len(elf); {
		n, err := unix.Write(fd, elf[at:])
		if err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("launcher image: %w", os.NewSyscallError("write", err))
		}
		at += n
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("launcher image: sealing it: %w", os.NewSyscallError("fcntl", err))
	}
	return fd, nil
}
