package oci

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// page is the help page of an invocation's verb, or of the program.
func (inv *invocation) page() string {
	if inv.verb != nil {
		return inv.verb.page()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "NAME:\n   %s - Open Container Initiative runtime\n\nUSAGE:\n   %s [global options] command [command options] [arguments...]\n\nCOMMANDS:\n", programName, programName)
	for i := range verbs {
		fmt.Fprintf(&b, "   %-12s%s\n", verbs[i].name, verbs[i].usage)
	}
	fmt.Fprintf(&b, "   %-12s%s\n\nGLOBAL OPTIONS:\n", "help, h", "Shows a list of commands or help for one command")
	optionList(&b, globalOptions[:])
	return b.String()
}

func (v *verb) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "NAME:\n   %s %s - %s\n\nUSAGE:\n   %s %s", programName, v.name, v.usage, programName, v.name)
	if len(v.options) > 0 {
		b.WriteString(" [command options]")
	}
	if v.args != "" {
		b.WriteString(" " + v.args)
	}
	b.WriteString("\n")
	if len(v.options) > 0 {
		b.WriteString("\nOPTIONS:\n")
		optionList(&b, v.options)
	}
	return b.String()
}

func optionList(b *strings.Builder, options []option) {
	heads := make([]string, len(options))
	width := 0
	for i, o := range options {
		value := ""
		if o.value != "" {
			value = " " + o.value
		}
		heads[i] = "--" + o.name + value
		if o.short != "" {
			heads[i] += ", -" + o.short + value
		}
		if !o.hidden {
			width = max(width, len(heads[i]))
		}
	}
	for i, o := range options {
		if !o.hidden {
			fmt.Fprintf(b, "   %-*s  %s\n", width, heads[i], o.usage)
		}
	}
}

// versionText is what engines read the version and the commit from.
func versionText() string {
	version, commit := programVersion()
	s := programName + " version " + version + "\n"
	if commit != "" {
		s += "commit: " + commit + "\n"
	}
	return s + "spec: " + specs.Version + "\n"
}

// programVersion is what the build recorded.
func programVersion() (version, commit string) {
	version = "0.0.0-dev"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		version = strings.TrimPrefix(v, "v")
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return version, commit
}
