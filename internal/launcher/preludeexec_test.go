package launcher

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// execHost is the host of a prelude, with the record of a sandbox.
type execHost struct {
	*preludeHost
	args, env []string
	image     []byte
	uid, mode uint64 // of the records' directories
	refused   string // file that can't be opened
	opened    []string
}

func (h *execHost) run(t *testing.T, im *Image) (*Process, *FakeKernel) {
	t.Helper()
	k := h.kernel()
	content, answer := k.Content, k.Answer
	k.Content = func(path string) []byte {
		if strings.HasSuffix(path, "/"+plan.JoinFileName) {
			return h.image
		}
		return content(path)
	}
	k.Stat = func(string) (FakeStat, int64) {
		return FakeStat{Mode: unix.S_IFDIR | uint16(h.mode), Uid: uint32(h.uid)}, 0
	}
	k.Answer = func(p *Process, c plan.Call, a [6]uint64) (int64, bool) {
		if c == plan.SysOpenat || c == plan.SysOpenat2 {
			name, _ := p.Mem.String(a[1])
			path := k.proc(p).in(a[0], name)
			h.opened = append(h.opened, path)
			if path == h.refused {
				return -int64(unix.ENOENT), true
			}
			return k.proc(p).open(fakeFile{path: path}), true
		}
		if c == plan.SysGetuid || c == plan.SysGeteuid {
			if r, ok := h.answer[c]; ok {
				return r, true
			}
			return 1000, true
		}
		return answer(p, c, a)
	}
	first, err := Simulate(im.ELF, k, SimulateOptions{Args: h.args, Env: h.env, MaxSteps: 20_000_000})
	if err != nil {
		t.Fatal(err)
	}
	return first, k
}

func newExecHost(t *testing.T) (*execHost, *Image) {
	t.Helper()
	_, im, h := preludeImage(t, "amd64", pidsV1)
	h.behind = true
	return &execHost{
		preludeHost: h, args: []string{"cloche", "exec", "web", "--", "tool"}, env: []string{"A=b", "XDG_RUNTIME_DIR=/run/user/1000"},
		image: bytes.Repeat([]byte("image"), 1000), uid: 1000, mode: 0o700,
	}, im
}

// TestPreludeExec: the image in the record is executed from a memory file that nobody can
// write to, with all that the caller gave.
func TestPreludeExec(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*execHost)
		want   string
	}{
		"a user":                {func(*execHost) {}, "/run/user/1000/cloche"},
		"without dashes":        {func(h *execHost) { h.args = []string{"cloche", "exec", "web", "tool", "-x"} }, "/run/user/1000/cloche"},
		"a directory by name":   {func(h *execHost) { h.env = append(h.env, "CLOCHE_STATE_DIR=/srv/state") }, "/srv/state"},
		"root":                  {func(h *execHost) { h.asRoot() }, "/run/cloche"},
		"root with a directory": {func(h *execHost) { h.asRoot(); h.env = []string{"CLOCHE_STATE_DIR=/srv/state"} }, "/srv/state"},
	} {
		t.Run(name, func(t *testing.T) {
			h, im := newExecHost(t)
			test.change(h)
			first, k := h.run(t, im)
			if first.Exec != "/memfd:cloche" {
				t.Fatalf("it executed %q, entered %#x", first.Exec, first.Entry)
			}
			if h.opened[0] != test.want || h.opened[1] != test.want+"/web" {
				t.Errorf("it looked in %v", h.opened)
			}
			written, sealed := false, false
			for _, e := range k.Trace {
				switch e.Call {
				case plan.SysWrite:
					written = bytes.Equal(e.Data, h.image)
				case plan.SysFcntl:
					sealed = sealed || written && e.Args[1] == unix.F_ADD_SEALS && e.Args[2] == unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE
				case plan.SysExecveat:
					argv, _ := first.Mem.load(e.Args[2]+8, 8)
					if s, _ := first.Mem.String(argv); !sealed || s != "exec" {
						t.Errorf("executed as %q, sealed %v", s, sealed)
					}
				}
			}
		})
	}
}

func (h *execHost) asRoot() {
	h.uid, h.answer[plan.SysGetuid], h.answer[plan.SysGeteuid] = 0, 0, 0
}

// TestPreludeExecLeaves: what is no plain start, and a record that others may have written,
// is left to the program, with nothing open.
func TestPreludeExecLeaves(t *testing.T) {
	for name, change := range map[string]func(*execHost){
		"no name":                    func(h *execHost) { h.args = h.args[:2] },
		"no command":                 func(h *execHost) { h.args = h.args[:3] },
		"dashes alone":               func(h *execHost) { h.args = h.args[:4] },
		"an empty command":           func(h *execHost) { h.args[4] = "" },
		"a flag":                     func(h *execHost) { h.args[2] = "-t" },
		"a flag for a command":       func(h *execHost) { h.args[3] = "-x" },
		"an empty name":              func(h *execHost) { h.args[2] = "" },
		"a path":                     func(h *execHost) { h.args[2] = "web/x" },
		"the directory itself":       func(h *execHost) { h.args[2] = "." },
		"to be explained":            func(h *execHost) { h.env = append(h.env, plan.ExplainVariable+"=0:0:0:100") },
		"other effective uid":        func(h *execHost) { h.answer[plan.SysGeteuid] = 7 },
		"other effective gid":        func(h *execHost) { h.answer[plan.SysGetegid] = 7 },
		"a stream is closed":         func(h *execHost) { h.answer[plan.SysFcntl] = -int64(unix.EBADF) },
		"descriptor 61 is open":      func(h *execHost) { h.open[61] = true },
		"descriptor 62 is open":      func(h *execHost) { h.open[62] = true },
		"descriptor 63 is open":      func(h *execHost) { h.open[63] = true },
		"a blocked signal":           func(h *execHost) { h.blocked = 1 },
		"no runtime directory":       func(h *execHost) { h.env = h.env[:1] },
		"an empty directory":         func(h *execHost) { h.env = append(h.env, "CLOCHE_STATE_DIR=") },
		"a relative directory":       func(h *execHost) { h.env = append(h.env, "CLOCHE_STATE_DIR=x") },
		"a directory twice":          func(h *execHost) { h.env = append(h.env, "CLOCHE_STATE_DIR=/x", "CLOCHE_STATE_DIR=/y") },
		"two runtime directories":    func(h *execHost) { h.env = append(h.env, "XDG_RUNTIME_DIR=/x") },
		"a slash at the end":         func(h *execHost) { h.env = append(h.env, "CLOCHE_STATE_DIR=/x/link/") },
		"dots on the way":            func(h *execHost) { h.env = append(h.env, "CLOCHE_STATE_DIR=/x/../y") },
		"the root":                   func(h *execHost) { h.env = append(h.env, "CLOCHE_STATE_DIR=/") },
		"a long directory":           func(h *execHost) { h.env[1] = "XDG_RUNTIME_DIR=/" + strings.Repeat("x", unix.PathMax) },
		"no records":                 func(h *execHost) { h.refused = "/run/user/1000/cloche" },
		"no such sandbox":            func(h *execHost) { h.refused = "/run/user/1000/cloche/web" },
		"nobody joined before":       func(h *execHost) { h.refused = "/run/user/1000/cloche/web/" + plan.JoinFileName },
		"another's records":          func(h *execHost) { h.uid = 7 },
		"a group may write":          func(h *execHost) { h.mode = 0o720 },
		"everybody may write":        func(h *execHost) { h.mode = 0o1777 },
		"no image":                   func(h *execHost) { h.image = []byte("x") },
		"too long an image":          func(h *execHost) { h.image = make([]byte, 1<<17) },
		"no memory file":             func(h *execHost) { h.answer[plan.SysMemfdCreate] = -int64(unix.EACCES) },
		"no execution":               func(h *execHost) { h.answer[plan.SysExecveat] = -int64(unix.EACCES) },
		"an environment without end": func(h *execHost) { h.env = append(h.env, slices.Repeat([]string{"A=b"}, 1<<16)...) },
	} {
		t.Run(name, func(t *testing.T) {
			h, im := newExecHost(t)
			change(h)
			first, k := h.run(t, im)
			if first.Entry != preludeEntry {
				t.Errorf("it went on; status %d, executed %q", first.Status, first.Exec)
			}
			for fd, f := range k.proc(first).files {
				t.Errorf("descriptor %d of %s is open", fd, f.path)
			}
			for _, e := range k.Trace {
				if e.Call == plan.SysClose && int32(e.Args[0]) >= 0 && e.Args[0] < 3 {
					t.Errorf("it closed descriptor %d", e.Args[0])
				}
			}
		})
	}
}
