package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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

// keeper copies what sandboxes in the background write to files. One thread waits for all
// of them in epoll_wait(2): most are silent, and a goroutine for each would cost more than
// the sandbox.
type keeper struct {
	epoll    int
	doorbell int
	names    []byte // an unfinished line of the doorbell's
	streams  map[int]*stream
	reading  map[string]state.Process // owners by name
	buf      [16 << 10]byte
	idle     time.Time
}

// stream is stdout or stderr of a sandbox.
type stream struct {
	sandbox *named.Sandbox
	log     logFile
	meter   *meter    // of both; nil: nobody asked how much it writes
	since   time.Time // when it was found that nobody has the FIFO open to write; zero: somebody has
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
	doorbell, err := unix.Open(wake, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return exitFailure
	}
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		files.Cur = files.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return exitFailure
	}
	k := &keeper{epoll: epoll, doorbell: doorbell, streams: map[int]*stream{}, reading: map[string]state.Process{}, idle: time.Now()}
	if k.watch(doorbell) != nil {
		return exitFailure
	}
	// Those whose keeper was killed.
	if all, _, err := named.List(); err == nil {
		for _, s := range all {
			if s.Log != "" && s.Running() {
				k.follow(s.Name)
			}
		}
	}
	for k.turn() {
	}
	return 0
}

func (k *keeper) watch(fd int) error {
	return unix.EpollCtl(k.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// turn waits for something to do and does it; false: there has been nothing for a while.
func (k *keeper) turn() bool {
	timeout := time.Hour
	for _, s := range k.streams {
		if !s.since.IsZero() { // somebody may open it, or the sandbox has ended
			timeout = min(timeout, max(5*time.Millisecond, min(time.Since(s.since), time.Second)))
		}
	}
	if len(k.streams) == 0 {
		timeout = keeperIdle
	}
	var events [64]unix.EpollEvent
	n, err := unix.EpollWait(k.epoll, events[:], int(timeout/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return false
	}
	for _, e := range events[:max(n, 0)] {
		if int(e.Fd) == k.doorbell {
			k.answer()
		} else {
			k.read(int(e.Fd))
		}
	}
	for fd, s := range k.streams {
		if !s.since.IsZero() {
			k.read(fd)
		}
	}
	return len(k.streams) > 0 || time.Since(k.idle) < keeperIdle
}

// answer reads names from the doorbell.
func (k *keeper) answer() {
	n, err := unix.Read(k.doorbell, k.buf[:])
	if err != nil {
		return
	}
	k.names = append(k.names, k.buf[:n]...)
	for {
		name, rest, ok := bytes.Cut(k.names, []byte("\n"))
		if !ok {
			return
		}
		k.follow(string(name))
		k.names = append(k.names[:0], rest...)
	}
}

// follow reads the FIFOs of a sandbox until it has ended.
func (k *keeper) follow(name string) {
	if named.CheckName(name) != nil {
		return
	}
	s, err := named.Find(name)
	if err != nil || k.reading[name] == s.Owner {
		return
	}
	e, err := openRecord(name)
	if err != nil {
		return
	}
	defer e.Close()
	var m *meter
	if s.MaxOutput > 0 {
		m = newMeter(e, int64(s.MaxOutput))
	}
	for _, file := range streams {
		f, err := e.OpenFile(file, unix.O_RDONLY, 0)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		fd := -1
		if err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		}
		f.Close()
		if err != nil || fd < 0 || unix.SetNonblock(fd, true) != nil {
			continue
		}
		k.streams[fd] = &stream{sandbox: s, log: logFile{record: name, name: file + ".log"}, meter: m, since: time.Now()}
	}
	k.reading[name] = s.Owner
}

// read takes what there is from a stream.
func (k *keeper) read(fd int) {
	s := k.streams[fd]
	if s == nil {
		return
	}
	n, err := unix.Read(fd, k.buf[:])
	switch {
	case err == unix.EINTR:
	case err == unix.EAGAIN, err == nil && n > 0:
		if n > 0 {
			k.keep(s, k.buf[:n])
		}
		if !s.since.IsZero() && k.watch(fd) == nil {
			s.since = time.Time{}
		}
	case err == nil && s.sandbox.Running(): // nobody has it open to write: not yet, or not any more
		if s.since.IsZero() {
			s.since = time.Now()
			_ = unix.EpollCtl(k.epoll, unix.EPOLL_CTL_DEL, fd, nil)
		}
	default:
		k.end(fd, s)
	}
}

func (k *keeper) end(fd int, s *stream) {
	unix.Close(fd)
	s.log.close()
	delete(k.streams, fd)
	for _, other := range k.streams {
		if other.sandbox == s.sandbox {
			return
		}
	}
	if s.meter != nil {
		s.meter.close()
	}
	if k.reading[s.sandbox.Name] == s.sandbox.Owner {
		delete(k.reading, s.sandbox.Name)
	}
	k.idle = time.Now()
}

// logFile is written to its size, then put aside as the only older one. Where it can't be written,
// the command goes on, and a line in it tells afterwards how much is missing.
type logFile struct {
	record string
	name   string
	file   *os.File
	size   int64
	lost   int64 // bytes since the last that were written
	why    error
}

func (l *logFile) write(b []byte) {
	if err := l.ready(len(b)); err != nil {
		l.lost, l.why = l.lost+int64(len(b)), err
		return
	}
	if l.lost > 0 {
		note := fmt.Appendf(nil, "\ncloche: %d bytes of output are missing here: %v\n", l.lost, l.why)
		if _, err := l.file.Write(note); err != nil {
			_ = l.file.Truncate(l.size) // all of the note or nothing
			l.lost, l.why = l.lost+int64(len(b)), withoutPath(err)
			return
		}
		l.size += int64(len(note))
		l.lost = 0
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	if err != nil {
		l.lost, l.why = int64(len(b)-n), withoutPath(err)
	}
}

// ready opens the file, and puts a full one aside before.
func (l *logFile) ready(n int) error {
	full := l.file != nil && l.size+int64(n) > maxLog
	if l.file != nil && !full {
		return nil
	}
	e, err := openRecord(l.record)
	if err != nil {
		return err
	}
	defer e.Close()
	if full {
		l.close()
		_ = unix.Renameat(e.DirFD(), l.name, e.DirFD(), l.name+".1")
	}
	f, err := e.OpenFile(l.name, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o600)
	if err != nil {
		return withoutPath(err)
	}
	l.file = f
	l.size, _ = f.Seek(0, io.SeekEnd)
	return nil
}

// withoutPath is the errno: whoever reads the log knows which file it is.
func withoutPath(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func (l *logFile) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
