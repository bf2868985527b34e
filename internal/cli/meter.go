package cli

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// writtenFile is the file of a record that says how much of the sandbox's output the keeper has
// read, for the next one where it is killed. It never grows, which takes no room on a full disk.
const writtenFile = "written"

func written(n int64) []byte { return fmt.Appendf(nil, "%019d", n) }

// meter counts stdout and stderr of a sandbox together.
type meter struct {
	limit, count int64
	file         *os.File // nil: it can't be opened
	done         bool     // there is nobody left to be ended
}

// newMeter goes on where another keeper was.
func newMeter(e *state.Entry, limit int64) *meter {
	m := &meter{limit: limit}
	f, err := e.OpenFile(writtenFile, unix.O_RDWR, 0)
	if err != nil {
		return m
	}
	m.file = f
	text := written(0)
	if _, err := f.ReadAt(text, 0); err == nil {
		m.count, _ = strconv.ParseInt(string(text), 10, 64)
	}
	return m
}

func (m *meter) close() {
	if m.file != nil {
		m.file.Close()
	}
}

// take counts what was read and returns as much of it as the limit allows.
func (m *meter) take(b []byte) []byte {
	room := max(0, m.limit-m.count)
	m.count += int64(len(b))
	if m.file != nil {
		_, _ = m.file.WriteAt(written(m.count), 0)
	}
	return b[:min(int64(len(b)), room)]
}

// keep puts what a sandbox wrote in its log, and ends it where that is more than it may write.
func (k *keeper) keep(s *stream, b []byte) {
	m := s.meter
	if m == nil {
		s.log.write(b)
		return
	}
	pass := m.take(b)
	if len(pass) > 0 {
		s.log.write(pass)
	}
	if m.done || m.count <= m.limit {
		return
	}
	now, err := named.Find(s.sandbox.Name)
	switch {
	case err != nil || now.Owner != s.sandbox.Owner || now.Ended != nil:
		m.done = true
	case now.MaxOutput == 0: // a cloche run beside it counts
		m.limit = math.MaxInt64
		s.log.write(b[len(pass):])
	case k.endOver(now):
		m.done = true
	}
}

// endOver ends a sandbox that has written too much, and says so in its log: whatever else comes
// is more than it may write. False: it has no process yet.
func (k *keeper) endOver(s *named.Sandbox) bool {
	init, err := s.InitProcess()
	if err != nil {
		return false
	}
	// Before it ends, as the end is written down by somebody else. Without room for it that is an end by SIGKILL.
	_ = named.Update(s.Name, s.Owner, func(now *named.Sandbox) { now.Over = true })
	if send(init, unix.SIGKILL) != nil {
		return false
	}
	p, err := s.Policy()
	if err != nil {
		return true
	}
	for _, other := range k.streams {
		if other.sandbox.Owner == s.Owner && other.log.name == streams[1]+".log" {
			other.log.write([]byte("cloche: " + limitMessage(p, &sandbox.Result{Reason: sandbox.Output, Limit: "max-output"}) + "\n"))
		}
	}
	return true
}
