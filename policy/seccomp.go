package policy

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// isProfileFile tells the path of a profile file from a built-in profile's name.
func isProfileFile(name string) bool {
	return strings.Contains(name, "/") || strings.HasSuffix(name, ".toml") || strings.HasSuffix(name, ".json")
}

func setSeccomp(p *Policy, s, where string) error {
	if isProfileFile(s) {
		if err := checkPath(s); err != nil {
			return err
		}
	} else if names := SeccompProfiles(); !has(names, s) {
		return document.Unknown("seccomp profile", s, document.Nearest(s, names),
			"it is one of "+strings.Join(names, ", ")+", or a file, written with a slash or ending in .toml or .json")
	}
	p.Seccomp, p.SeccompText, p.SeccompProfile, p.SeccompGroups = s, "", nil, nil
	p.from("seccomp.profile", where)
	return nil
}

// LoadSeccomp reads the profile file that p.Seccomp names, if it was not read yet:
// one that a flag or a Go program set. Resolve does it for those that a policy file
// names. From then on the policy holds the text, and the file is not looked at again.
func (p *Policy) LoadSeccomp(load Loader) error {
	if !isProfileFile(p.Seccomp) || p.SeccompText != "" {
		return nil
	}
	file, data, err := load(p.Seccomp)
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s is empty", document.Clip(file))
	}
	if err != nil {
		return at(p, "seccomp.profile", err)
	}
	p.Seccomp, p.SeccompText = file, string(data)
	if !isProfileFile(p.Seccomp) {
		p.Seccomp = "./" + p.Seccomp
	}
	_, _, _, err = p.Filter(seccomp.AMD64, [2]int{})
	return err
}

// loadSeccomp reads the profile file that a policy file names, relative to it.
func (d *decoder) loadSeccomp(v *document.Value, load Loader) error {
	if v == nil || !isProfileFile(d.p.Seccomp) {
		return nil
	}
	if load == nil {
		return d.fail(v.Line, "seccomp.profile", fmt.Errorf("%s is a file, and here only built-in profiles are read: %s", document.Clip(v.Text), strings.Join(SeccompProfiles(), ", ")))
	}
	if name := d.p.Seccomp; name[0] != '/' {
		if d.p.Seccomp = path.Join(path.Dir(d.file), name); !isProfileFile(d.p.Seccomp) {
			d.p.Seccomp = "./" + d.p.Seccomp
		}
	}
	return d.p.LoadSeccomp(load)
}

// seccomp reads the rules that a policy file holds itself.
func (d *decoder) seccomp(t *document.Value) error {
	if t == nil {
		return nil
	}
	own, warnings, err := profile.ReadTable(d.file, "seccomp", t)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		d.p.Notes = append(d.p.Notes, "seccomp: "+w.String())
	}
	v := t.Get("default")
	if v == nil {
		d.p.SeccompGroups = slices.Concat(own.Groups, d.p.SeccompGroups)
		return nil
	}
	if named := t.Get("profile"); named != nil {
		return d.fail(v.Line, "seccomp.default", fmt.Errorf("the profile on line %d has a default: give one of the two; without a default the groups here come before that profile's", named.Line))
	}
	d.p.Seccomp, d.p.SeccompText, d.p.SeccompProfile, d.p.SeccompGroups = "", "", &own, nil
	d.p.from("seccomp.profile", d.at(v.Line))
	return nil
}

// Filter returns the profile that the filter is compiled from: SeccompGroups, then
// what Seccomp names or SeccompProfile is. archs are the architectures that it is
// for, the given one first. kernel is the host's version, {6, 12}, for which JSON
// profiles may ask; {0, 0} is newer than any.
func (p *Policy) Filter(arch seccomp.Arch, kernel [2]int) (f seccomp.Profile, archs []seccomp.Arch, warnings []profile.Warning, err error) {
	host := profile.Host{Arch: arch, Kernel: kernel, Caps: p.Capabilities}
	archs = []seccomp.Arch{arch}
	switch {
	case p.SeccompProfile != nil:
		f = *p.SeccompProfile
	case p.SeccompText != "":
		f, archs, warnings, err = profile.Read(p.Seccomp, []byte(p.SeccompText), host)
	case isProfileFile(p.Seccomp):
		err = at(p, "seccomp.profile", fmt.Errorf("the file %s was not read: see Policy.LoadSeccomp", document.Clip(p.Seccomp)))
	default:
		known := false
		if f, archs, known = profile.Named(cmp.Or(p.Seccomp, "default"), host); !known {
			err = at(p, "seccomp.profile", document.OneOf("seccomp profile", p.Seccomp, SeccompProfiles()))
		}
	}
	if err != nil || len(p.SeccompGroups) == 0 {
		return f, archs, warnings, err
	}
	f.Groups = slices.Concat(p.SeccompGroups, f.Groups)
	if f.BadArch == seccomp.Allow {
		// Else what the groups deny would be allowed by the numbers of another architecture.
		f.BadArch = seccomp.KillProcess
	}
	return f, archs, warnings, nil
}

// PlainSeccomp reports whether the filter is a built-in profile as it is, and which: its
// program is there already, see [profile.Precompiled].
func (p *Policy) PlainSeccomp() (name string, ok bool) {
	name = cmp.Or(p.Seccomp, "default")
	return name, p.SeccompProfile == nil && len(p.SeccompGroups) == 0 && !isProfileFile(name) && (name != "docker" || len(p.Capabilities) == 0)
}

// Filtered reports whether there is a filter at all.
func (p *Policy) Filtered() bool {
	name, plain := p.PlainSeccomp()
	return !plain || name != "none"
}

// SeccompName is what messages call the filter.
func (p *Policy) SeccompName() string {
	name := cmp.Or(p.Seccomp, "default")
	if p.SeccompProfile != nil {
		name = "of the policy"
	}
	if len(p.SeccompGroups) > 0 {
		return name + ", after rules of the policy"
	}
	return name
}

// validateSeccomp refuses a filter that can't be read, and one that is none.
func validateSeccomp(p *Policy) error {
	if _, plain := p.PlainSeccomp(); plain {
		return nil
	}
	if p.SeccompProfile != nil && p.Seccomp != "" {
		return at(p, "seccomp.profile", fmt.Errorf("%s is named, and a whole profile given: give one of the two", document.Clip(p.Seccomp)))
	}
	f, _, _, err := p.Filter(seccomp.AMD64, [2]int{})
	if err == nil && f.DeniesNothing() {
		err = at(p, "seccomp.profile", errors.New(`it denies no call, so it is no filter: give it a default such as "EPERM", or say "none", which must be asked for by name`))
	}
	if err == nil && (f.BadArch == seccomp.Allow || f.BadArch == seccomp.Log) {
		err = at(p, "seccomp.profile", errors.New(`bad-arch lets calls pass, so that all that the profile denies passes by another architecture's numbers: say bad-arch = "kill-process"`))
	}
	return err
}

// passing names a call among these that the filter may let pass, on an architecture
// that Cloche runs on or one that the filter lets in beside it; "": none.
func (p *Policy) passing(calls []string) string {
	for _, arch := range [...]seccomp.Arch{seccomp.AMD64, seccomp.ARM64} {
		f, archs, _, err := p.Filter(arch, [2]int{})
		if err != nil || f.BadArch == seccomp.Allow || f.BadArch == seccomp.Log {
			return calls[0]
		}
		for _, a := range archs {
			for _, call := range calls {
				if f.MayPass(a, call) {
					return call
				}
			}
		}
	}
	return ""
}

func (f *formatter) seccomp() {
	p := f.p
	f.section("seccomp")
	if own := p.SeccompProfile; own != nil {
		f.line("default", document.Quote(own.Default.String()), "seccomp.profile")
		f.line("unknown", document.Quote(own.Unknown.String()), "")
		f.line("bad-arch", document.Quote(own.BadArch.String()), "")
		if flags, err := profile.FormatFlags(own.Flags); err == nil && flags != "" {
			f.line("flags", flags, "")
		}
		f.groups(slices.Concat(p.SeccompGroups, own.Groups))
		return
	}
	f.text("profile", p.Seccomp)
	f.groups(p.SeccompGroups)
}

// groups writes rules. What no file could say becomes a comment.
func (f *formatter) groups(groups []seccomp.Group) {
	text, err := profile.WriteGroups("seccomp", groups)
	if err != nil {
		text = "# " + strings.Map(printable, err.Error()) + "\n"
	}
	f.b.WriteString(text)
}
