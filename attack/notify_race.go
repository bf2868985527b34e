package attack

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// race is the main of a program whose calls a supervisor judges by what they point to: one
// thread changes that while the other's call waits for its answer.
func race(args []string) int {
	if len(args) != 2 || len(args[0]) != len(args[1]) {
		return 2
	}
	allowed, refused := append([]byte(args[0]), 0), append([]byte(args[1]), 0)
	name := bytes.Clone(allowed)
	last := len(name) - 2 // the names differ in their last letter
	var over atomic.Bool
	go func() {
		runtime.LockOSThread()
		for !over.Load() {
			name[last] = allowed[last]
			time.Sleep(300 * time.Microsecond)
			name[last] = refused[last]
			time.Sleep(300 * time.Microsecond)
		}
	}()
	defer over.Store(true)
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}
	for range 300 {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT2, atCWD, addressOf(&name[0]), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		if errno != 0 {
			continue
		}
		f := os.NewFile(fd, "raced")
		buf := make([]byte, 64)
		n, _ := f.Read(buf)
		f.Close()
		fmt.Printf("%s\n", buf[:n])
	}
	return 0
}
