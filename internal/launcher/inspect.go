package launcher

import (
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Listing is what can be said of an image from its file alone.
type Listing struct {
	GOARCH   string `json:"arch"`
	Size     int    `json:"size"`     // bytes
	Entry    int    `json:"entry"`    // index of the operation that it begins with
	OnFatal  int    `json:"on_fatal"` // index of the one that reports fatal errors
	Resident int    `json:"resident"` // operations below this index stay when set-up is over

	// Genuine tells that the image's interpreter is that of this very program.
	// If it is not (another architecture, another version, or a forgery) then
	// nothing vouches for the operations being all that the file does.
	Genuine bool `json:"genuine"`

	Ops []ListedOp `json:"operations"`
}

// ListedOp is one operation in words.
type ListedOp struct {
	Index  int      `json:"index"`
	Call   string   `json:"call"` // "syscall_999": one that no plan makes
	Pseudo bool     `json:"pseudo,omitempty"`
	Args   []string `json:"args"`          // "$9" is slot 9
	Dst    int      `json:"dst,omitempty"` // slot of the result

	// Jumps, as indices; -1: to the fatal handler. Errno 0: no way of its own.
	Errno   string `json:"errno,omitempty"`
	OnErrno int    `json:"on_errno,omitempty"`
	OnErr   int    `json:"on_error"`
	OnOK    int    `json:"on_success"`

	following int
}

// Inspect reads an image as Assemble made it, for `cloche plan --image`. The
// file may be hostile: what is not exactly an image is an error.
func Inspect(elf []byte) (*Listing, error) {
	p, err := parse(elf)
	if err != nil {
		return nil, err
	}
	l := &Listing{
		GOARCH: p.goarch, Size: len(elf), Entry: p.entry, OnFatal: p.onFatal,
		Resident: p.resident, Genuine: p.genuine(), Ops: make([]ListedOp, 0, len(p.ops)),
	}
	for i := range p.ops {
		if !p.padding(i) {
			l.Ops = append(l.Ops, p.describe(i))
		}
	}
	return l, nil
}

func (p *parsed) describe(i int) ListedOp {
	o := &p.ops[i]
	d := ListedOp{Index: i, Dst: int(o.dst), OnErr: jump(o.onErr), OnOK: jump(o.onOK), following: i + 1}
	for p.padding(d.following) {
		d.following++
	}
	if o.errno != 0 {
		d.Errno, d.OnErrno = errnoName(o.errno), jump(o.onErrno)
	}
	c, known := p.call(o)
	if known {
		d.Call, d.Pseudo = c.Name(), c.IsPseudo()
	} else {
		d.Call = "syscall_" + strconv.Itoa(int(o.number))
	}
	n := len(o.args)
	for n > leastArgs(c, known) && o.args[n-1] == 0 && o.slots&(1<<(n-1)) == 0 {
		n--
	}
	d.Args = make([]string, n)
	for k := range d.Args {
		if o.slots&(1<<k) != 0 {
			d.Args[k] = "$" + strconv.FormatUint(o.args[k], 10)
		} else {
			d.Args[k] = p.number(o.args[k])
		}
	}
	return d
}

// leastArgs is how many arguments are printed even if the last ones are zero.
func leastArgs(c plan.Call, known bool) int {
	switch {
	case !known:
		return 0
	case c == plan.Alu:
		return 5
	case c == plan.Branch || c == plan.Copy:
		return 4
	case c == plan.Store || c == plan.Compare:
		return 3
	case c == plan.Load || c == plan.Format:
		return 2
	}
	switch c {
	case plan.SysGetpid, plan.SysGetppid, plan.SysGettid, plan.SysGetuid, plan.SysGetgid, plan.SysSetsid:
		return 0
	}
	return 1
}

func jump(at uint16) int {
	if at == opFatal {
		return -1
	}
	return int(at)
}

func errnoName(n uint16) string {
	if s := unix.ErrnoName(syscall.Errno(n)); s != "" {
		return s
	}
	return strconv.Itoa(int(n))
}

// number is an argument in words: the string it points at, an address in the
// image, or a number. What can be overwritten while the image runs is marked.
func (p *parsed) number(v uint64) string {
	if s, ok := p.text(v, BaseRO, len(p.elf)); ok {
		return s
	}
	if s, ok := p.text(v, BaseRW, p.rwFile); ok {
		return s + " (writable)"
	}
	switch {
	case v-BaseRO < uint64(len(p.elf)), v-BaseRW < uint64(p.rwSize):
		return "&0x" + strconv.FormatUint(v, 16)
	case v < 4096, -v <= 4096:
		return strconv.FormatInt(int64(v), 10)
	}
	return "0x" + strconv.FormatUint(v, 16)
}

// text is the quoted string at v in the n bytes that are mapped at base.
func (p *parsed) text(v, base uint64, n int) (string, bool) {
	if v < base+offsetData || v-base >= uint64(n) {
		return "", false
	}
	b := p.elf[v-base : n]
	end := 0
	for end < len(b) && end <= unix.PathMax && b[end] != 0 {
		end++
	}
	if end == 0 || end == len(b) || b[end] != 0 || !utf8.Valid(b[:end]) {
		return "", false
	}
	s := string(b[:end])
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", false
	}
	return strconv.Quote(s), true
}

// String is the operation on one line, in the style of strace(1).
func (d *ListedOp) String() string {
	s := d.Call + "(" + strings.Join(d.Args, ", ") + ")"
	if d.Dst != 0 {
		s += " = $" + strconv.Itoa(d.Dst)
	}
	to := func(at int) string {
		if at == d.following {
			return "go on"
		}
		return "go to " + strconv.Itoa(at)
	}
	if d.OnOK != d.following && d.OnOK >= 0 {
		s += "; " + to(d.OnOK)
	}
	if d.Errno != "" {
		s += "; on " + d.Errno + " " + to(d.OnErrno)
	}
	switch {
	case d.OnErr < 0:
	case d.OnErr == d.OnOK:
		s += "; after errors too"
	case d.Pseudo:
		s += "; else " + to(d.OnErr)
	default:
		s += "; on errors " + to(d.OnErr)
	}
	return s
}

// String is the whole listing, a line for each operation.
func (l *Listing) String() string {
	var b strings.Builder
	b.WriteString("launcher image for " + l.GOARCH + ", " + strconv.Itoa(l.Size) + " bytes\n")
	if !l.Genuine {
		b.WriteString("its interpreter is not the one of this program (another version or architecture, or a forgery): the operations may not be all that it does\n")
	}
	for i := range l.Ops {
		d := &l.Ops[i]
		switch {
		case d.Index == l.Entry:
			b.WriteString("begin:\n")
		case d.Index == l.OnFatal:
			b.WriteString("after a fatal error:\n")
		}
		b.WriteString(strconv.Itoa(d.Index) + "\t" + d.String() + "\n")
	}
	return b.String()
}
