// Package libseccomp has filters compiled by libseccomp, in a C program of its own
// that is compiled when it is asked for: an oracle and a rival for package seccomp.
// Only tests and benchmarks import it.
package libseccomp

import (
	"bufio"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed program/compile.c
var source string

// Filter is what libseccomp is told, seccomp_init(3) and seccomp_rule_add(3).
type Filter struct {
	Default, BadArch uint32 // SECCOMP_RET_* values
	Tree             bool   // SCMP_FLTATR_CTL_OPTIMIZE 2: a binary tree of the numbers
	Rules            []Rule
}

// Rule is one rule of the native architecture.
type Rule struct {
	Action uint32
	NR     int32
	Args   []Arg // of different arguments
}

// Arg is struct scmp_arg_cmp. Op is in the order of package seccomp's: ==, !=, <, <=,
// >, >=, and masked equality, for which A is the mask and B the value.
type Arg struct {
	Index, Op int
	A, B      uint64
}

// maskedEqual is Op's last value.
const maskedEqual = 6

// Compare adds a condition as package seccomp has it. Of 32 bits only equality can be
// told to libseccomp, by a mask: ok is false for other comparisons of them.
func (r *Rule) Compare(index, op int, value, mask uint64, low32 bool) (ok bool) {
	a := Arg{Index: index, Op: op, A: value}
	switch {
	case op == maskedEqual:
		a.A, a.B = mask, value
	case low32 && op == 0:
		a.Op, a.A, a.B = maskedEqual, 0xffffffff, value
	case low32:
		return false
	}
	r.Args = append(r.Args, a)
	return true
}

// Compiler is the C program.
type Compiler struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Build compiles a C program of this repository against libseccomp.
func Build(source, file string, flags ...string) error {
	cc := exec.Command("cc", append([]string{"-O2", "-Wall", "-x", "c", "-o", file, "-", "-lseccomp"}, flags...)...)
	cc.Stdin = strings.NewReader(source)
	if out, err := cc.CombinedOutput(); err != nil {
		return fmt.Errorf("cc with -lseccomp (Debian: gcc, libseccomp-dev): %w: %s", err, out)
	}
	return nil
}

// Start compiles the program into dir and starts it.
func Start(dir string) (*Compiler, error) {
	file := filepath.Join(dir, "libseccomp")
	if err := Build(source, file); err != nil {
		return nil, err
	}
	c := &Compiler{cmd: exec.Command(file)}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 1<<20)
	return c, c.cmd.Start()
}

// Close ends the program.
func (c *Compiler) Close() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// Compile has one filter compiled.
func (c *Compiler) Compile(f *Filter) ([]unix.SockFilter, error) {
	var s strings.Builder
	optimize := 0
	if f.Tree {
		optimize = 2
	}
	fmt.Fprintf(&s, "filter %d %d %d\n", f.Default, f.BadArch, optimize)
	for _, r := range f.Rules {
		fmt.Fprintf(&s, "rule %d %d %d", r.Action, r.NR, len(r.Args))
		for _, a := range r.Args {
			fmt.Fprintf(&s, " %d %d %d %d", a.Index, a.Op, a.A, a.B)
		}
		s.WriteByte('\n')
	}
	s.WriteString("end\n")
	if _, err := io.WriteString(c.in, s.String()); err != nil {
		return nil, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("libseccomp: no answer: %w", err)
	}
	count, code, _ := strings.Cut(strings.TrimSpace(line), " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return nil, errors.New("libseccomp: " + strings.TrimSpace(line))
	}
	b, err := hex.DecodeString(code)
	if err != nil || len(b) != 8*n {
		return nil, fmt.Errorf("libseccomp: %d bytes for %d instructions: %w", len(b), n, err)
	}
	prog := make([]unix.SockFilter, n)
	for i := range prog {
		in := b[8*i:]
		prog[i] = unix.SockFilter{Code: binary.LittleEndian.Uint16(in), Jt: in[2], Jf: in[3], K: binary.LittleEndian.Uint32(in[4:])}
	}
	return prog, nil
}
