package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// Seccomp is `cloche seccomp`: what its verbs have in common.
type Seccomp struct {
	Archs  []string // to compile for; empty: this machine's, and what the profile adds
	Caps   []string // that the command keeps, for profiles that ask
	Kernel string   // for profiles that ask; "": newer than any
	JSON   bool
}

// filterFile is a profile, or a program of which nobody has the profile.
type filterFile struct {
	name    string
	profile *seccomp.Profile // nil: prog alone is there
	archs   []seccomp.Arch   // the first one is the machine's
	prog    []unix.SockFilter
}

// SeccompProfiles are the words that stand for a profile.
func SeccompProfiles() []string { return profile.Names() }

// host is what the flags say of the machine that a profile is for.
func (s *Seccomp) host() (h profile.Host, archs []seccomp.Arch, err error) {
	for _, name := range s.Archs {
		a, ok := seccomp.ArchByName(name)
		if !ok {
			return h, nil, fmt.Errorf("--arch %s: there is no table of its calls; it is one of %s", clip(name), strings.Join(archNames(), ", "))
		}
		if !slices.Contains(archs, a) {
			archs = append(archs, a)
		}
	}
	h.Caps = s.Caps
	if len(archs) > 0 {
		h.Arch = archs[0]
	} else if a, ok := seccomp.ArchByName(runtime.GOARCH); ok {
		h.Arch = a
	}
	if s.Kernel != "" {
		var rest string
		if n, _ := fmt.Sscanf(s.Kernel, "%d.%d%s", &h.Kernel[0], &h.Kernel[1], &rest); n != 2 {
			return h, nil, fmt.Errorf("--kernel %s: write two numbers, such as 6.12", clip(s.Kernel))
		}
	}
	return h, archs, nil
}

func archNames() (names []string) {
	for _, a := range seccomp.Archs() {
		names = append(names, a.String())
	}
	return names
}

// read finds a profile by its name or in a file, and says what is odd about it.
func (s *Seccomp) read(name string) (*filterFile, error) {
	host, archs, err := s.host()
	if err != nil {
		return nil, err
	}
	f := &filterFile{name: name}
	if p, own, ok := profile.Named(name, host); ok {
		f.profile, f.archs = &p, own
	} else if err := f.readFile(host); err != nil {
		return nil, err
	}
	if len(archs) > 0 {
		f.archs = archs
	}
	return f, nil
}

func (f *filterFile) readFile(host profile.Host) error {
	data, err := readFile(f.name)
	if err != nil && !strings.ContainsAny(f.name, "./") {
		if near := document.Nearest(f.name, profile.Names()); near != "" {
			return fmt.Errorf("unknown seccomp profile %q: did you mean %q?", clip(f.name), near)
		}
		return fmt.Errorf("unknown seccomp profile %q: it is one of %s, or a file", clip(f.name), strings.Join(profile.Names(), ", "))
	}
	if err != nil {
		return fmt.Errorf("%s: %s", clip(f.name), whyFile(err))
	}
	if bytes.IndexByte(data, 0) >= 0 { // no text holds one, and every program
		f.archs = []seccomp.Arch{host.Arch}
		f.prog, err = decodeProgram(f.name, data, host.Arch.BigEndian)
		return err
	}
	p, archs, warnings, err := profile.Read(f.name, data, host)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		complain(w.String())
	}
	if p.Name == f.name {
		p.Name = strings.TrimSuffix(filepath.Base(f.name), filepath.Ext(f.name))
	}
	f.profile, f.archs = &p, archs
	return nil
}

// program is the compiled filter; nil: it is none.
func (f *filterFile) program() ([]unix.SockFilter, error) {
	if f.profile == nil || f.prog != nil {
		return f.prog, nil
	}
	var err error
	f.prog, err = seccomp.Compile(*f.profile, f.archs...)
	return f.prog, err
}

// needsProfile refuses a program where rules are asked for.
func (f *filterFile) needsProfile() error {
	if f.profile != nil {
		return nil
	}
	return fmt.Errorf("%s: it is a compiled program, which no longer has the profile's rules; `cloche seccomp disasm` shows it", clip(f.name))
}

// writeOut writes to a file, or to stdout where none is named.
func writeOut(name string, data []byte) error {
	if name == "" {
		_, err := os.Stdout.Write(data)
		return err
	}
	if err := writeWhole(name, data, 0o666); err != nil {
		return fmt.Errorf("-o %s: %s", clip(name), whyUnwritable(err))
	}
	return nil
}
