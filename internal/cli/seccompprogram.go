package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// decodeProgram reads an array of struct sock_filter, as seccomp(2) takes it.
func decodeProgram(name string, data []byte, bigEndian bool) ([]unix.SockFilter, error) {
	const size, most = 8, 4096 // BPF_MAXINSNS
	if len(data)%size != 0 || len(data) == 0 || len(data)/size > most {
		return nil, fmt.Errorf("%s: %d bytes are no program: it is 1 to %d instructions of %d bytes each, struct sock_filter", clip(name), len(data), most, size)
	}
	order := byteOrder(bigEndian)
	prog := make([]unix.SockFilter, len(data)/size)
	for i := range prog {
		at := data[i*size:]
		prog[i] = unix.SockFilter{Code: order.Uint16(at), Jt: at[2], Jf: at[3], K: order.Uint32(at[4:])}
	}
	return prog, nil
}

func encodeProgram(prog []unix.SockFilter, bigEndian bool) []byte {
	order := byteOrder(bigEndian)
	data := make([]byte, 8*len(prog))
	for i, in := range prog {
		at := data[8*i:]
		order.PutUint16(at, in.Code)
		at[2], at[3] = in.Jt, in.Jf
		order.PutUint32(at[4:], in.K)
	}
	return data
}

func byteOrder(bigEndian bool) binary.ByteOrder {
	if bigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// Compile is `cloche seccomp compile`.
func (s *Seccomp) Compile(name, output string, verify bool) error {
	f, err := s.read(name)
	if err != nil {
		return err
	}
	if err := f.needsProfile(); err != nil {
		return err
	}
	if output == "" && isTerminal(os.Stdout) {
		return errors.New("compile: a program is no text for a terminal; name a file: -o FILE, or look at it with `cloche seccomp disasm`")
	}
	for _, a := range f.archs {
		if a.BigEndian != f.archs[0].BigEndian {
			return fmt.Errorf("compile: %s and %s store words in different order, so no machine runs both; compile for one", f.archs[0], a)
		}
	}
	prog, err := f.program()
	if err != nil {
		return err
	}
	if len(prog) == 0 {
		return fmt.Errorf("compile: profile %s is no filter: it allows everything, so there is no program", f.profile.Name)
	}
	var names []string
	for _, a := range f.archs {
		names = append(names, a.String())
	}
	what := fmt.Sprintf("%d instructions for %s", len(prog), strings.Join(names, ", "))
	if verify {
		if err := seccomp.Verify(*f.profile, f.archs, prog); err != nil {
			return err
		}
		what += "; verified: for every input it answers what the rules say"
	}
	if err := writeOut(output, encodeProgram(prog, f.archs[0].BigEndian)); err != nil {
		return err
	}
	if output != "" {
		_, err = fmt.Println(plainText(output + ": " + what))
	}
	return err
}

// Disasm is `cloche seccomp disasm`.
func (s *Seccomp) Disasm(name string) error {
	f, err := s.read(name)
	if err != nil {
		return err
	}
	prog, err := f.program()
	if err != nil {
		return err
	}
	if len(prog) == 0 {
		return fmt.Errorf("disasm: profile %s is no filter: it allows everything, so there is no program", f.profile.Name)
	}
	_, err = os.Stdout.WriteString(seccomp.Disassemble(prog, f.archs[0]))
	return err
}

// simulated is a call and what the filter makes of it, as JSON.
type simulated struct {
	Call    string   `json:"call"`
	Arch    string   `json:"arch"`
	Action  string   `json:"action"`
	Allowed bool     `json:"allowed"`
	Group   string   `json:"group,omitempty"`
	Why     string   `json:"why,omitempty"`
	Origin  string   `json:"origin,omitempty"`
	Path    []string `json:"path"`
}

// Simulate is `cloche seccomp simulate`.
func (s *Seccomp) Simulate(name string, calls []string) error {
	f, err := s.read(name)
	if err != nil {
		return err
	}
	prog, err := f.program()
	if err != nil {
		return err
	}
	all := make([]simulated, 0, len(calls))
	allowed := true
	for _, call := range calls {
		r, err := f.simulate(prog, call)
		if err != nil {
			return err
		}
		all = append(all, r)
		allowed = allowed && r.Allowed
	}
	if s.JSON {
		err = writeJSON(os.Stdout, all)
	} else {
		var b strings.Builder
		for _, r := range all {
			r.write(&b, len(prog))
		}
		_, err = os.Stdout.WriteString(plainText(b.String()))
	}
	if err == nil && !allowed {
		err = &exitError{code: exitNo}
	}
	return err
}

func (f *filterFile) simulate(prog []unix.SockFilter, call string) (simulated, error) {
	arch := f.archs[0]
	data, err := seccomp.ParseCall(call, arch)
	if err != nil {
		return simulated{}, err
	}
	r := simulated{Call: call, Arch: arch.String(), Action: seccomp.Allow.String(), Allowed: true, Path: []string{}}
	if f.profile != nil {
		d := seccomp.DecideAmong(*f.profile, f.archs, data)
		r.Group, r.Why, r.Origin = d.Group, d.Reason, d.Origin
	}
	if len(prog) == 0 {
		return r, nil
	}
	way, action, err := seccomp.Path(prog, data)
	if err != nil {
		return simulated{}, fmt.Errorf("%s: %w", clip(f.name), err)
	}
	r.Action, r.Allowed = action.String(), action == seccomp.Allow || action == seccomp.Log
	lines := seccomp.Annotate(prog, arch)
	for _, v := range way {
		line := lines[v.PC].Line(v.PC)
		if prog[v.PC].Code == unix.BPF_LD|unix.BPF_W|unix.BPF_ABS {
			line += fmt.Sprintf(": %#x", v.Accumulator)
		}
		r.Path = append(r.Path, line)
	}
	return r, nil
}

func (r *simulated) write(b *strings.Builder, instructions int) {
	fmt.Fprintf(b, "%s on %s: %s\n", r.Call, r.Arch, r.Action)
	if why := strings.Trim(r.Group+": "+r.Why, ": "); why != "" {
		b.WriteString("  " + why)
		if r.Origin != "" {
			b.WriteString(" (" + r.Origin + ")")
		}
		b.WriteString("\n")
	}
	if instructions > 0 {
		fmt.Fprintf(b, "  %d of %d instructions:\n", len(r.Path), instructions)
	}
	for _, line := range r.Path {
		b.WriteString("  " + line + "\n")
	}
}
