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
	}
	tails := [2]*tail{{entry: e, name: streams[0] + ".log", to: os.Stdout}, {entry: e, name: streams[1] + ".log", to: os.Stderr}}
	for _, t := range tails {
		if err := t.begin(l.Tail); err != nil {
			return fmt.Errorf("logs: %w", err)
		}
	}
	for l.Follow && running {
		time.Sleep(50 * time.Millisecond)
		running = s.Running()
		if !running {
			time.Sleep(200 * time.Millisecond) // what is on its way to the files
		}
		for _, t := range tails {
			if err := t.more(); err != nil {
				return fmt.Errorf("logs: %w", err)
			}
		}
	}
	return nil
}

// tail prints a log's file as it grows.
type tail struct {
	entry *state.Entry
	name  string
	to    *os.File
	file  *os.File
}

// begin prints the last lines of what there is; n < 0: all of it.
func (t *tail) begin(n int) error {
	var text []byte
	for _, name := range []string{t.name + ".1", t.name} {
		f, err := t.entry.OpenFile(name, unix.O_RDONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		if err != nil {
			f.Close()
			return err
		}
		text = append(text, b...)
		if name == t.name {
			t.file = f
		} else {
			f.Close()
		}
	}
	if n >= 0 {
		text = lastLines(text, n)
	}
	_, err := t.to.Write(text)
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
	for {
		if t.file != nil {
			if _, err := io.Copy(t.to, t.file); err != nil {
				return err
			}
		}
		f, err := t.entry.OpenFile(t.name, unix.O_RDONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if t.file != nil {
			now, err1 := f.Stat()
			old, err2 := t.file.Stat()
			if err1 != nil || err2 != nil || os.SameFile(now, old) {
				f.Close()
				return nil
			}
			t.file.Close() // put aside, and all of it is printed
		}
		t.file = f
	}
}
