package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/state"
)

// What a sandbox in the background writes goes through two FIFOs of its record's directory to the
// keeper, one process for all sandboxes of a user, which puts it in files of bounded size.
// The sandbox holds its FIFO open for reading as well: when the keeper is killed, the
// command does not get SIGPIPE, but waits until the next one reads on.

// streams are stdout and stderr by the names of their FIFOs; their files have .log and
// .log.1 after it.
var streams = [...]string{"out", "err"}

// openRecord opens the directory of a sandbox's record.
func openRecord(name string) (*state.Entry, error) {
	dir, err := named.Dir()
	if err != nil {
		return nil, err
	}
	store, err := state.OpenStore(dir, false)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return store.Open(name)
}

// redirectLogs makes new FIFOs and makes them the standard streams.
func redirectLogs(s *named.Sandbox) error {
	e, err := openRecord(s.Name)
	if err != nil {
		return err
	}
	defer e.Close()
	if s.MaxOutput > 0 {
		if err := e.Write(writtenFile, written(0)); err != nil {
			return err
		}
	}
	for _, s := range streams {
		for _, file := range []string{s, s + ".log", s + ".log.1"} {
			if err := e.Delete(file); err != nil {
				return err
			}
		}
		if err := unix.Mkfifoat(e.DirFD(), s, 0o600); err != nil {
			return fmt.Errorf("make %s: %w", e.Path(s), err)
		}
	}
	if err := callKeeper(e); err != nil {
		return err
	}
	for i, s := range streams {
		f, err := e.OpenFile(s, unix.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
			return err
		}
		if err := unix.Dup3(int(f.Fd()), i+1, 0); err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// callKeeper has the keeper read the FIFOs of a record, and starts one where there is none.
func callKeeper(e *state.Entry) error {
	dir, err := keeperDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	const patience = 20 * time.Second // on a busy machine a program takes seconds to start
	started := time.Time{}
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		// The sandbox itself has the FIFOs open for reading too: that they have a reader
		// says nothing without a keeper.
		fd, err := openDoorbell(dir)
		if err == nil {
			if readersOf(e) == len(streams) {
				unix.Close(fd)
				return nil
			}
			_, err = unix.Write(fd, []byte(e.Name+"\n"))
			unix.Close(fd)
			time.Sleep(2 * time.Millisecond)
			if err == nil && time.Since(begin) < patience {
				continue
			}
		}
		if time.Since(begin) > patience {
			return errors.New("the keeper of logs does not answer; is " + dir.Path() + " yours, and its disk not full?")
		}
		// ENXIO: nobody reads it. ENOENT: nobody ever did.
		if time.Since(started) > time.Second {
			started = time.Now()
			if err := startKeeper(); err != nil {
				return fmt.Errorf("the keeper of logs: %w", err)
			}
		}
	}
}

// openDoorbell opens what the keeper alone reads.
func openDoorbell(dir *state.Store) (int, error) {
	return unix.Open(dir.Path()+"/"+wakeFile, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
}

func keeperRuns() bool {
	dir, err := keeperDir()
	if err != nil {
		return false
	}
	defer dir.Close()
	fd, err := openDoorbell(dir)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// readersOf is how many of the FIFOs somebody has open for reading.
func readersOf(e *state.Entry) (n int) {
	for _, s := range streams {
		f, err := e.OpenFile(s, unix.O_WRONLY, 0) // ENXIO: no reader
		if err == nil {
			n++
			f.Close()
		}
	}
	return n
}

// keeperDir is where the keeper is found: beside the records, as a record's name could be
// any.
func keeperDir() (*state.Store, error) {
	dir, err := named.Dir()
	if err != nil {
		return nil, err
	}
	return state.OpenStore(dir+"-logs", true)
}

// startKeeper starts it in a session of its own.
func startKeeper() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess("/proc/self/exe", []string{"cloche", KeeperArg}, &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), "GOGC=50", "GOMAXPROCS=1"), Files: []*os.File{null, null, null}, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	// The process that was started starts the keeper and ends, so that nobody has to
	// wait for that.
	_, err = p.Wait()
	return err
}
