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

	Steps []StepName `json:"steps,omitempty"` // as the file's maker named them
	Ops   []ListedOp `json:"operations"`
}

// ListedOp is one operation in words.
type ListedOp struct {
	Index  int      `json:"index"`
	Call   string   `json:"call"` // "syscall_999": one that no plan makes
	Pseudo bool     `json:"pseudo,omitempty"`
	Args   []string `json:"args"`          // "$9" is slot 9, "$fd" one with a name
	Dst    int      `json:"dst,omitempty"` // slot of the result
	Step   int      `json:"step"`          // index in steps

	// Jumps, as indices; -1: to the fatal handler. Errno 0: no way of its own.
	Errno   string `json:"errno,omitempty"`
	OnErrno int    `json:"on_errno,omitempty"`
	OnErr   int    `json:"on_error"`
	OnOK    int    `json:"on_success"`

	following int
	result    string // the slot's name
	all       bool   // of a test: the mask leaves everything
	always    bool   // of a branch: it is a jump
}

// Inspect reads an image as Assemble made it, for `cloche plan --image`. The
// file may be hostile: what is not exactly an image is an error.
func Inspect(elf []byte) (*Listing, error) {
	if image, ok := embedded(elf); ok {
		elf = image
	}
	p, err := parse(elf)
	if err != nil {
		return nil, err
	}
	l := &Listing{
		GOARCH: p.goarch, Size: len(elf), Entry: p.entry, OnFatal: p.onFatal,
		Resident: p.resident, Genuine: p.genuine(), Ops: make([]ListedOp, 0, len(p.ops)),
	}
	if p.names != nil {
		l.Steps = p.names.Steps
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
	d := ListedOp{Index: i, Step: int(o.step), result: p.names.variable(uint64(o.dst)), Dst: int(o.dst), OnErr: jump(o.onErr), OnOK: jump(o.onOK), following: i + 1}
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
	var decoders map[int]decoder
	if known {
		decoders = decodersOf(c)
	}
	for k := range d.Args {
		d.Args[k] = p.argument(c, known, decoders, o, k)
	}
	if known && c == plan.Branch {
		d.always = o.slots == 0 && o.args[1]&o.args[0] == o.args[2] && o.args[3] == plan.CondEqual
	}
	d.all = known && (c == plan.Branch && o.slots&2 == 0 && o.args[1] == ^uint64(0) || c == plan.Alu && o.slots&4 == 0 && o.args[2] == ^uint64(0))
	return d
}

// argument is one argument in words.
func (p *parsed) argument(c plan.Call, known bool, decoders map[int]decoder, o *operation, k int) string {
	v := o.args[k]
	if o.slots&(1<<k) != 0 {
		return p.names.variable(v)
	}
	if d, ok := decoders[k]; ok {
		if s, ok := d.text(v); ok {
			return s
		}
	}
	if known {
		if s, ok := p.structure(c, k, v); ok {
			return s
		}
	}
	return p.number(v)
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
	case plan.SysGetpid, plan.SysGetppid, plan.SysGettid, plan.SysGetuid, plan.SysGetgid, plan.SysGeteuid, plan.SysGetegid, plan.SysSetsid:
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
