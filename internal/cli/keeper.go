package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/state"
)

// KeeperArg makes this program the keeper of logs.
const KeeperArg = "-keep-logs"

const (
	wakeFile = "wake" // FIFO that the names of sandboxes are written to
	lockFile = "lock"

	// maxLog is the size of a log's file in bytes; one more of that size is kept.
	maxLog = 8 << 20
	// keeperIdle is how long the keeper stays when there is nothing to read.
	keeperIdle = time.Second
)

// keeper copies what sandboxes in the background write to files.
type keeper struct {
	mu      sync.Mutex
	reading map[string]state.Process // owners by name
	buffers sync.Pool
	idle    time.Time
}

// keepLogs is the keeper's main function. The first call only starts the second, whose
// parent is nobody's business then.
func keepLogs(args []string) int {
	if len(args) < 3 {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return exitFailure
		}
		_, err = os.StartProcess("/proc/self/exe", []string{"cloche", KeeperArg, "stay"}, &os.ProcAttr{Dir: "/", Files: []*os.File{null, null, null}})
		if err != nil {
			return exitFailure
		}
		return 0
	}
	dir, err := keeperDir()
	if err != nil {
		return exitFailure
	}
	lock, err := unix.Open(dir.Path()+"/"+lockFile, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil || unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return 0 // there is one
	}
	wake := dir.Path() + "/" + wakeFile
	if err := unix.Mkfifo(wake, 0o600); err != nil && err != unix.EEXIST {
		return exitFailure
	}
	fd, err := unix.Open(wake, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return exitFailure
	}
	doorbell := os.NewFile(uintptr(fd), wake)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		files.Cur = files.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
	}
	k := &keeper{reading: map[string]state.Process{}, idle: time.Now()}
	k.buffers.New = func() any { return new([16 << 10]byte) }
	// Those whose keeper was killed.
	if all, _, err := named.List(); err == nil {
		for _, s := range all {
			if s.Log != "" && s.Running() {
				k.follow(s.Name)
			}
		}
	}
	k.listen(doorbell)
	return 0
}

// listen takes names until there has been nothing to do for a while.
func (k *keeper) listen(doorbell *os.File) {
	buf := make([]byte, 4096)
	var rest []byte
	for {
		_ = doorbell.SetReadDeadline(time.Now().Add(keeperIdle / 2))
		n, err := doorbell.Read(buf)
		rest = append(rest, buf[:n]...)
		for {
			name, after, ok := bytes.Cut(rest, []byte("\n"))
			if !ok {
				break
			}
			rest = after
			k.follow(string(name))
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		k.mu.Lock()
		over := len(k.reading) == 0 && time.Since(k.idle) > keeperIdle
		k.mu.Unlock()
		if over {
			return
		}
	}
}

// follow reads the FIFOs of a sandbox until it has ended.
func (k *keeper) follow(name string) {
	if named.CheckName(name) != nil {
		return
	}
	s, err := named.Find(name)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading[name] == s.Owner {
		return
	}
	e, err := openRecord(name)
	if err != nil {
		return
	}
	var both sync.WaitGroup
	for _, stream := range streams {
		f, err := e.OpenFile(stream, unix.O_RDONLY, 0)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			f.Close()
			continue
		}
		both.Go(func() { k.copy(e, s, stream, f) })
	}
	k.reading[name] = s.Owner
	go func() {
		both.Wait()
		e.Close()
		k.mu.Lock()
		if k.reading[name] == s.Owner {
			delete(k.reading, name)
		}
		k.idle = time.Now()
		k.mu.Unlock()
	}()
}

// copy is of one stream.
func (k *keeper) copy(e *state.Entry, s *named.Sandbox, stream string, from *os.File) {
	defer from.Close()
	to := &logFile{entry: e, name: stream + ".log"}
	defer to.close()
	conn, err := from.SyscallConn()
	if err != nil {
		return
	}
	for {
		n, rerr := 0, error(nil)
		// A buffer is used only while there is something to read: many sandboxes are silent.
		err := conn.Read(func(fd uintptr) bool {
			buf := k.buffers.Get().(*[16 << 10]byte)
			defer k.buffers.Put(buf)
			n, rerr = unix.Read(int(fd), buf[:])
			if rerr == unix.EAGAIN {
				return false
			}
			if n > 0 {
				to.write(buf[:n])
			}
			return true
		})
		switch {
		case err != nil || rerr != nil && rerr != unix.EINTR:
			return
		case n == 0 && rerr == nil: // nobody has it open any more, or not yet
			if !s.Running() {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// logFile is written to its size, then put aside as the only older one.
type logFile struct {
	entry *state.Entry
	name  string
	file  *os.File
	size  int64
}

func (l *logFile) write(b []byte) {
	if l.file != nil && l.size+int64(len(b)) > maxLog {
		l.close()
		_ = unix.Renameat(l.entry.DirFD(), l.name, l.entry.DirFD(), l.name+".1")
	}
	if l.file == nil {
		f, err := l.entry.OpenFile(l.name, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o600)
		if err != nil {
			return // a full disk: what is written meanwhile is lost, and the command goes on
		}
		l.file = f
		l.size, _ = f.Seek(0, io.SeekEnd)
	}
	n, _ := l.file.Write(b)
	l.size += int64(n)
}

func (l *logFile) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
