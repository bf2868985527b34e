package plan

import (
	"strconv"
	"strings"
)

// String prints an argument as strace(1) would.
func (a Arg) String() string { return a.text(nil) }

func (a Arg) text(vars []string) string {
	switch a.kind {
	case argVar:
		if int(a.value) < len(vars) && vars[a.value] != "" {
			return "$" + vars[a.value]
		}
		return "$" + strconv.FormatUint(a.value, 10)
	case argData:
		t := a.data.String()
		if a.off > 0 {
			t += "+" + strconv.FormatUint(uint64(a.off), 10)
		}
		return t
	case argLabel:
		return "@" + strconv.Itoa(int(Label(a.value)))
	case argMode:
		return "0" + strconv.FormatUint(a.value, 8)
	case argRegion:
		return [...]string{"setup_ro", "setup_ro_size", "setup_rw", "setup_rw_size", "image", "image_size"}[a.value]
	}
	if a.name != "" {
		return a.name
	}
	if a.flags[0] != 0 {
		s := constants[a.flags[0]].name
		for _, c := range a.flags[1:] {
			if c != 0 {
				s += "|" + constants[c].name
			}
		}
		return s
	}
	if int64(a.value) < 0 && int64(a.value) > -4096 {
		return strconv.FormatInt(int64(a.value), 10)
	}
	if a.value > 1<<20 {
		return "0x" + strconv.FormatUint(a.value, 16)
	}
	return strconv.FormatUint(a.value, 10)
}

// String is the data's text, or its bytes as a quoted string of at most 200 characters.
func (d *Data) String() string {
	if d.Text != "" {
		return d.Text
	}
	if d.Show != nil {
		return d.Show(d)
	}
	s := d.CString
	if s == "" {
		s = strings.TrimSuffix(string(d.Bytes), "\x00")
	}
	if len(s) > 200 {
		return strconv.Quote(s[:200]) + "…"
	}
	return strconv.Quote(s)
}

// OpText is one operation in the style of strace: the call, where its result
// goes, and which errors do not end the set-up.
func (p *Plan) OpText(i int) string {
	op := &p.Ops[i]
	var s strings.Builder
	if op.Call.IsPseudo() {
		p.pseudoText(&s, op)
	} else {
		s.WriteString(op.Call.Name())
		s.WriteByte('(')
		for n, a := range op.Args {
			if n > 0 {
				s.WriteString(", ")
			}
			s.WriteString(a.text(p.VarNames))
		}
		s.WriteByte(')')
	}
	if op.Dst != Void {
		s.WriteString(" → $" + p.VarNames[op.Dst])
	}
	switch {
	case op.IgnoreErr:
		s.WriteString("   [any error: go on]")
	case op.Errno != 0 && op.OnErrno == op.Mark && op.Mark != 0:
		s.WriteString("   [" + errnoName(op.Errno) + ": again]")
	case op.Errno != 0:
		s.WriteString("   [" + errnoName(op.Errno) + ": " + p.goTo(op.OnErrno) + "]")
	}
	if op.OnErr > 0 && !op.IgnoreErr && !isTest(op.Call) {
		s.WriteString("   [else: " + p.goTo(op.OnErr) + "]")
	}
	if op.OnOK > 0 && !isTest(op.Call) {
		s.WriteString("   [then: " + p.goTo(op.OnOK) + "]")
	}
	return s.String()
}

func isTest(c Call) bool { return c == Branch || c == Compare }

// goTo names the place of a label by the operation's number.
func (p *Plan) goTo(l Label) string {
	if l <= 0 {
		return "go on"
	}
	if p.marks == nil {
		p.marks = make(map[Label]int)
		for i := range p.Ops {
			if m := p.Ops[i].Mark; m != 0 {
				p.marks[m] = i
			}
		}
	}
	if i, ok := p.marks[l]; ok {
		return "to " + strconv.Itoa(i)
	}
	return "?"
}

// pseudoText reads a pseudo-operation as a formula.
func (p *Plan) pseudoText(s *strings.Builder, op *Op) {
	arg := func(i int) string {
		if l, ok := op.Args[i].IsTarget(); ok {
			return "operation" + strings.TrimPrefix(p.goTo(l), "to")
		}
		return op.Args[i].text(p.VarNames)
	}
	masked := func(v string, a Arg) string {
		if kind := a.kind; kind == argNumber && a.value == ^uint64(0) {
			return v
		}
		return v + " & " + a.text(p.VarNames)
	}
	switch op.Call {
	case Branch:
		if always(op) {
			s.WriteString("go " + p.goTo(op.OnOK))
			return
		}
		cond := [...]string{"==", "<", ">"}[op.Args[3].value]
		s.WriteString("if " + masked(arg(0), op.Args[1]) + " " + cond + " " + arg(2) + " " + p.goTo(op.OnOK) + " else " + p.elseTo(op))
	case Compare:
		s.WriteString("if " + arg(2) + " bytes of " + arg(0) + " == " + arg(1) + " " + p.goTo(op.OnOK) + " else " + p.elseTo(op))
	case Alu:
		t := arg(0)
		if op.Args[1].value != 0 || op.Args[1].kind != argNumber {
			t = "(" + t + " >> " + arg(1) + ")"
		}
		t = masked(t, op.Args[2])
		if op.Args[3].value != 0 || op.Args[3].kind != argNumber {
			t = "(" + t + ") << " + arg(3)
		}
		if op.Args[4].value != 0 || op.Args[4].kind != argNumber {
			t += " + " + arg(4)
		}
		s.WriteString(t)
	case Load:
		s.WriteString("the " + arg(1) + " bytes at " + arg(0))
	case Store:
		s.WriteString(arg(0) + " := " + arg(1) + " (" + arg(2) + " bytes)")
	case Copy:
		stop := "NUL"
		if c := op.Args[2].value; c != 0 {
			stop = strconv.QuoteRune(rune(c))
		}
		if op.Args[0].kind == argNumber {
			s.WriteString("length of " + arg(1) + " up to " + stop)
		} else {
			s.WriteString("copy " + arg(1) + " up to " + stop + " to " + arg(0))
		}
	case Format:
		s.WriteString(arg(0) + " := " + arg(1) + " in decimal")
	case Parse:
		s.WriteString("the number written at " + arg(0))
	case Enter:
		s.WriteString("enter the program at " + arg(0))
	}
}

func always(op *Op) bool {
	return op.Args[1].kind == argNumber && op.Args[1].value == 0 && op.Args[2].kind == argNumber && op.Args[2].value == 0 && op.Args[3].value == CondEqual
}

func (p *Plan) elseTo(op *Op) string {
	if op.OnErr == Next {
		return "fail"
	}
	return p.goTo(op.OnErr)
}
