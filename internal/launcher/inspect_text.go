package launcher

import (
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// String is the operation on one line, in the style of strace(1) and of `cloche plan`.
func (d *ListedOp) String() string {
	s := d.Call + "(" + strings.Join(d.Args, ", ") + ")"
	if d.Pseudo {
		s = d.formula()
	}
	if d.Dst != 0 {
		s += " → " + d.result
	}
	note := func(what string, at int) { s += "   [" + what + ": " + d.to(at) + "]" }
	ignores := d.OnErr >= 0 && d.OnErr == d.OnOK
	switch {
	case d.Errno != "" && d.OnErrno == d.Index:
		s += "   [" + d.Errno + ": again]"
	case d.Errno != "":
		note(d.Errno, d.OnErrno)
	case ignores && !d.isTest():
		s += "   [any error: go on]"
	}
	if d.isTest() {
		return s
	}
	if d.OnErr >= 0 && !ignores {
		note("else", d.OnErr)
	}
	if d.OnOK >= 0 && d.OnOK != d.following {
		note("then", d.OnOK)
	}
	return s
}

func (d *ListedOp) isTest() bool {
	return d.Call == plan.Branch.Name() || d.Call == plan.Compare.Name()
}

func (d *ListedOp) to(at int) string {
	switch at {
	case d.following:
		return "go on"
	case -1:
		return "fail"
	}
	return "to " + strconv.Itoa(at)
}

// formula reads a pseudo-operation as a sentence.
func (d *ListedOp) formula() string {
	a := d.Args
	arms := func() string { return " " + d.to(d.OnOK) + " else " + d.to(d.OnErr) }
	masked := func(v, mask string) string {
		if d.all {
			return v
		}
		return v + " & " + mask
	}
	switch d.Call {
	case plan.Branch.Name():
		cond := a[3]
		if n, err := strconv.Atoi(cond); err == nil && n >= 0 && n < 3 {
			cond = [...]string{"==", "<", ">"}[n]
		}
		if d.always {
			return "go " + strings.TrimPrefix(d.to(d.OnOK), "go ")
		}
		return "if " + masked(a[0], a[1]) + " " + cond + " " + a[2] + arms()
	case plan.Compare.Name():
		return "if " + a[2] + " bytes of " + a[0] + " == " + a[1] + arms()
	case plan.Alu.Name():
		s := a[0]
		if a[1] != "0" {
			s = "(" + s + " >> " + a[1] + ")"
		}
		s = masked(s, a[2])
		if a[3] != "0" {
			s = "(" + s + ") << " + a[3]
		}
		if a[4] != "0" {
			s += " + " + a[4]
		}
		return s
	case plan.Load.Name():
		return "the " + a[1] + " bytes at " + a[0]
	case plan.Store.Name():
		return a[0] + " := " + a[1] + " (" + a[2] + " bytes)"
	case plan.Copy.Name():
		stop := "NUL"
		if n, err := strconv.Atoi(a[2]); err == nil && n > 0 && n < 128 {
			stop = strconv.QuoteRune(rune(n))
		}
		if a[0] == "0" {
			return "length of " + a[1] + " up to " + stop
		}
		return "copy " + a[1] + " up to " + stop + " to " + a[0]
	case plan.Format.Name():
		return a[0] + " := " + a[1] + " in decimal"
	case plan.Parse.Name():
		return "the number written at " + a[0]
	case plan.Enter.Name():
		return "enter the program at " + a[0]
	}
	return d.Call + "(" + strings.Join(a, ", ") + ")"
}

// String is the whole listing: each step under its heading, with its operations.
// What is done once comes first, then what pid 1 keeps.
func (l *Listing) String() string {
	var b strings.Builder
	b.WriteString("launcher image for " + l.GOARCH + ", " + strconv.Itoa(l.Size) + " bytes\n")
	if !l.Genuine {
		b.WriteString("its interpreter is not the one of this program (another version or architecture, or a forgery): the operations may not be all that it does\n")
	}
	if l.Steps != nil {
		b.WriteString("headings and names of values are what the file says; the operations are read from what it does\n")
	}
	step := -1
	list := func(d *ListedOp) {
		if d.Step != step && l.Steps != nil {
			step = d.Step
			b.WriteString("\n" + l.heading(step) + "\n")
		}
		switch {
		case d.Index == l.Entry:
			b.WriteString("begin:\n")
		case d.Index == l.OnFatal:
			b.WriteString("after a fatal error:\n")
		}
		n := strconv.Itoa(d.Index)
		b.WriteString(strings.Repeat(" ", max(0, 5-len(n))) + n + "  " + d.String() + "\n")
	}
	for _, resident := range [...]bool{false, true} {
		for i := range l.Ops {
			if d := &l.Ops[i]; (d.Index < l.Resident) == resident {
				list(d)
			}
		}
	}
	return b.String()
}

func (l *Listing) heading(step int) string {
	if step >= len(l.Steps) {
		return "step " + strconv.Itoa(step)
	}
	s := &l.Steps[step]
	h := s.Process + ": " + s.Name
	if s.Origin != "" {
		h += "   (" + s.Origin + ")"
	}
	return h
}
