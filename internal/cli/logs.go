package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/state"
)

// Logs is `cloche logs`.
type Logs struct {
	Follow bool
	Tail   int // lines of each stream; negative: all
}

// Run prints what a sandbox in the background wrote to stdout and stderr, each to the same.
func (l *Logs) Run(args []string) error {
	if len(args) != 1 {
		return errors.New("logs: name one sandbox: cloche logs [-f] [--tail N] NAME")
	}
	s, err := named.Find(args[0])
	if err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	if s.Log == "" {
		return fmt.Errorf("logs: %s was not started with --detach: its output went to who started it", s.Name)
	}
	e, err := openRecord(s.Name)
	if err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	defer e.Close()
	running := s.Running()
	if running {
		if err := callKeeper(e); err != nil { // the last one may have been killed
			return fmt.Errorf("logs: %w", err)
		}
	} else {
		awaitKeeper(e, s)
	}
	tails := [2]*tail{{entry: e, name: streams[0] + ".log", to: os.Stdout}, {entry: e, name: streams[1] + ".log", to: os.Stderr}}
	for _, t := range tails {
		if err := t.begin(l.Tail); err != nil {
			return fmt.Errorf("logs: %w", err)
		}
	}
	for l.Follow && running {
		time.Sleep(50 * time.Millisecond)
		if running = s.Running(); !running {
			awaitKeeper(e, s)
		} else if !keeperRuns() {
			if err := callKeeper(e); err != nil {
				return fmt.Errorf("logs: %w", err)
			}
		}
		for _, t := range tails {
			if err := t.more(); err != nil {
				return fmt.Errorf("logs: %w", err)
			}
		}
	}
	return nil
}

// awaitKeeper waits until the keeper has written what a sandbox wrote that has ended. A
// process that outlived it, in a pid namespace that is shared, may hold the FIFO for ever.
func awaitKeeper(e *state.Entry, s *named.Sandbox) {
	for end := time.Now().Add(5 * time.Second); readersOf(e) > 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if now, err := named.Find(s.Name); err != nil || now.Owner != s.Owner {
			return // the name is another sandbox's now
		}
	}
}

// tail prints a log's file as it grows.
type tail struct {
	entry *state.Entry
	name  string
	to    *os.File
	file  *os.File
}

// files opens the log and the one that was put aside before it, both of one moment. Either may be nil.
func (t *tail) files() (older, now *os.File, err error) {
	for {
		if now, err = t.open(t.name); err != nil {
			return nil, nil, err
		}
		if older, err = t.open(t.name + ".1"); err != nil {
			closeFile(now)
			return nil, nil, err
		}
		again, err := t.open(t.name)
		same := err == nil && sameFile(now, again)
		closeFile(again)
		if same {
			return older, now, nil
		}
		closeFile(now)
		closeFile(older)
		if err != nil {
			return nil, nil, err
		}
	}
}

// open opens a file of the record; nil: there is none.
func (t *tail) open(name string) (*os.File, error) {
	f, err := t.entry.OpenFile(name, unix.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func closeFile(f *os.File) {
	if f != nil {
		f.Close()
	}
}

// sameFile compares what is open; nil is the same as nil.
func sameFile(a, b *os.File) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// begin prints the last lines of what there is; n < 0: all of it.
func (t *tail) begin(n int) error {
	older, now, err := t.files()
	if err != nil {
		return err
	}
	var text []byte
	for _, f := range []*os.File{older, now} {
		if f == nil {
			continue
		}
		b, err := io.ReadAll(f)
		if err != nil {
			closeFile(older)
			closeFile(now)
			return err
		}
		text = append(text, b...)
		if t.file != nil {
			t.file.Close()
		}
		t.file = f
	}
	if n >= 0 {
		text = lastLines(text, n)
	}
	_, err = t.to.Write(text)
	return err
}

// lastLines are the last n lines of a text.
func lastLines(text []byte, n int) []byte {
	if n == 0 {
		return nil
	}
	end := len(text)
	if end > 0 && text[end-1] == '\n' {
		end--
	}
	for range n {
		i := bytes.LastIndexByte(text[:end], '\n')
		if i < 0 {
			return text
		}
		end = i
	}
	return text[end+1:]
}

// more prints what has come since.
func (t *tail) more() error {
	older, now, err := t.files()
	if err != nil {
		return err
	}
	unseen := []*os.File{older, now}
	if t.file != nil {
		// It may have been put aside since, with more in it than was there the last time.
		if _, err := io.Copy(t.to, t.file); err != nil {
			return err
		}
		switch {
		case sameFile(t.file, now):
			unseen = nil
		case sameFile(t.file, older):
			unseen = unseen[1:]
		case older != nil: // it is gone
			complain("logs: more was written meanwhile than is kept; some of it may be missing here")
		}
	}
	for _, f := range unseen {
		if f == nil {
			continue
		}
		if _, err := io.Copy(t.to, f); err != nil {
			return err
		}
		closeFile(t.file)
		t.file = f
	}
	for _, f := range []*os.File{older, now} {
		if f != t.file {
			closeFile(f)
		}
	}
	return nil
}
