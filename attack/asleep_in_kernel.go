package attack

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A process that waits for a file system's server does not die before that answers, and
// pid 1 not before it. Whoever waits for them must not wait for ever.
var asleepInKernel = Attack{
	Name: "asleep-in-the-kernel", Group: "limits", Reference: "fuse(4), proc_pid_stat(5) state D",
	Tries:  "sleep where SIGKILL does not reach, in a directory whose server does not answer, to keep the caller waiting",
	Limits: []string{"wall-time 300ms"},
	Door:   []string{"read $DIR"},
	Stops:  []Stop{{wallLimit, "SIGKILL"}},
	Needs:  withFuse(onlyRootMounts("only root may mount such a file system here")),
	Outside: func(o *Outside) error {
		o.Tell("path", filepath.Join(o.Dir, "fuse/file"))
		o.began = time.Now()
		return o.silentServer(filepath.Join(o.Dir, "fuse"), silence)
	},
	Inside: func(in *Inside) error {
		_, err := os.Stat(in.Arg("path"))
		if os.IsNotExist(err) { // it is not shown
			return Failed(err)
		}
		return nil
	},
	Escaped: func(o *Outside) bool { return time.Since(o.began) >= silence },
}

// silence is how long the server does not answer: longer than Cloche waits for what
// does not end.
const silence = 9 * time.Second

// silentServer mounts a FUSE that says hello, and nothing more.
func (o *Outside) silentServer(at string, d time.Duration) error {
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open /dev/fuse", err)
	}
	if err := unix.Mount("cloche-attack", at, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("mount", err)
	}
	give := sync.OnceFunc(func() {
		_ = unix.Unmount(at, unix.MNT_DETACH|unix.MNT_FORCE) // ends what waits for an answer
	})
	timer := time.AfterFunc(d, give)
	served := make(chan struct{})
	o.Defer(func() {
		timer.Stop()
		give()
		<-served
		unix.Close(fd)
	})
	go func() {
		defer close(served)
		buf := make([]byte, 1<<17)
		for {
			n, err := unix.Read(fd, buf)
			if err != nil && err != unix.EINTR && err != unix.ENOENT {
				return // unmounted
			}
			const header, opInit = 40, 26
			if le := binary.LittleEndian; n >= header && le.Uint32(buf[4:]) == opInit {
				_, _ = unix.Write(fd, fuseHello(le.Uint64(buf[8:])))
			}
		}
	}()
	return nil
}

// fuseHello answers FUSE_INIT: struct fuse_out_header and struct fuse_init_out.
func fuseHello(unique uint64) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 16+64)
	out = binary.LittleEndian.AppendUint32(out, 0)
	out = binary.LittleEndian.AppendUint64(out, unique)
	for _, v := range []uint32{7, 31, 65536, 0, 12, 65536} { // version 7.31, read ahead, flags, background, max_write
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return append(out, make([]byte, 64-24)...)
}
