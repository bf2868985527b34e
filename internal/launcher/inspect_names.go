package launcher

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Names is what a listing of an image needs beside its operations: what the plan
// called its steps and its values. It stands behind the image in the file of an
// executable and is mapped by nobody. Nothing vouches for it but the maker: it is
// headings, and what the operations do is read from themselves.
type Names struct {
	Vars  []string `json:"-"` // by plan.Var
	Steps []StepName
}

// StepName is the heading of a step.
type StepName struct {
	Process string `json:"process"`
	Name    string `json:"name"`
	Origin  string `json:"origin,omitempty"`
}

// namesMagic begins the names; the length of all of it follows, four bytes.
const namesMagic = "\x00cloche names\x01"

// Append puts the names behind an image.
func (n *Names) Append(elf []byte) []byte {
	var fields []string
	fields = append(fields, strconv.Itoa(len(n.Vars)))
	fields = append(fields, n.Vars...)
	for _, s := range n.Steps {
		fields = append(fields, s.Process, s.Name, s.Origin)
	}
	text := strings.Join(fields, "\x00")
	out := make([]byte, 0, len(elf)+len(namesMagic)+4+len(text))
	out = append(append(out, elf...), namesMagic...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	return append(out, text...)
}

// NamesOf are the names of a plan.
func NamesOf(p *plan.Plan) *Names {
	n := &Names{Vars: p.VarNames}
	for i := range p.Steps {
		s := &p.Steps[i]
		n.Steps = append(n.Steps, StepName{string(s.Process), s.Name, s.Origin})
	}
	return n
}

// parseNames reads what follows an image; nil: nothing does.
func parseNames(b []byte) (*Names, error) {
	if len(b) == 0 {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(string(b), namesMagic)
	if !ok || len(rest) < 4 || int64(binary.LittleEndian.Uint32([]byte(rest))) != int64(len(rest)-4) {
		return nil, damaged("something else follows it")
	}
	fields := strings.Split(rest[4:], "\x00")
	vars, err := strconv.Atoi(fields[0])
	fields = fields[1:]
	if err != nil || vars < 0 || vars > plan.MaxVars || vars > len(fields) || (len(fields)-vars)%3 != 0 || len(fields) > 3*maxOps {
		return nil, damaged("its names have an unknown form")
	}
	n := &Names{Vars: make([]string, vars)}
	for i, v := range fields[:vars] {
		n.Vars[i] = printable(v)
	}
	for f := fields[vars:]; len(f) > 0; f = f[3:] {
		n.Steps = append(n.Steps, StepName{printable(f[0]), printable(f[1]), printable(f[2])})
	}
	return n, nil
}

// printable quotes what would do something to a terminal.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// variable is how a slot is printed.
func (n *Names) variable(v uint64) string {
	if n != nil && v < uint64(len(n.Vars)) && n.Vars[v] != "" {
		return "$" + n.Vars[v]
	}
	return "$" + strconv.FormatUint(v, 10)
}
