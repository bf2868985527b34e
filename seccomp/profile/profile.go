// Package profile reads and writes seccomp profiles as files: Cloche's own TOML,
// and the JSON that Docker, containers-common and the OCI runtime spec use.
//
// A profile in TOML:
//
//	description = "what it is for"
//	default = "EPERM"             # of calls that no rule is about; needed
//	unknown = "ENOSYS"            # of calls newer than the profile; the default is ENOSYS,
//	                              # or what default says where that lets calls pass
//	bad-arch = "kill-process"     # of other architectures' calls; the default
//	flags = ["log"]               # log, spec-allow, tsync, wait-killable-recv
//	use = ["@io", "@memory"]      # groups of the built-in profiles, after the file's own
//
//	[[group]]
//	name = "@network"
//	why = "sockets of the families that programs use"
//
//	[[group.rule]]
//	action = "allow"
//	calls = ["bind", "socket(AF_UNIX)", "socket(AF_NETLINK, _, NETLINK_ROUTE)", "ioctl(_, != TIOCSTI)"]
//
// The first rule that holds for a call decides, in the order of the file.
//
// An action is allow, kill-process, kill-thread, trap, log, notify, the name of an
// errno such as EPERM, "errno 38", or "trace 1", see [seccomp.Action].
//
// A call is a name, or a number in decimal, with conditions on its arguments in
// their order. All of them must hold:
//
//	call       = name [ "(" [ argument { "," argument } ] ")" ]
//	argument   = "_" | condition { "&&" condition }
//	condition  = comparison [ ":32" | ":64" ]
//	comparison = [ "==" ] value | "!=" value | "<" value | "<=" value | ">" value
//	           | ">=" value | "&" value "==" value | "!&" value
//	value      = word { "|" word }
//	word       = number | "-" number | constant
//
// "_" is any value, a value alone is that value, "& MASK == V" holds when the bits
// of MASK have the value V, and "!& MASK" when none of them is set. A number is
// decimal, 0x hexadecimal or 0 octal; a constant is one that [seccomp.Constant]
// knows. As many bits are compared as the kernel looks at, see [seccomp.Width]; a
// condition that ends in :32 or :64 says it itself. Comparisons are unsigned.
package profile

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Error is a mistake in a profile file: its File and Line (from 1; 0: the file as
// a whole), the dotted Key, and Err, what is wrong and what to write instead.
type Error = document.Error

// Warning is what a person should know of a profile that can be used: "file:line: text".
type Warning struct {
	File string
	Line int // from 1; 0: the file as a whole
	Text string
}

// String returns the warning on one line.
func (w Warning) String() string {
	return (&Error{File: w.File, Line: w.Line}).Where() + ": " + w.Text
}

// Host is what a profile is read for. The conditions of JSON profiles (includes,
// excludes) ask for it, and warnings are about its architecture.
type Host struct {
	Arch   seccomp.Arch // of the machine, such as [seccomp.AMD64]; needed
	Kernel [2]int       // its version, {6, 12}; {0, 0} is newer than any
	Caps   []string     // what the command keeps, by capabilities(7) name: "CAP_SYS_ADMIN"

	// Exact keeps the 64 bits of libseccomp's comparisons in JSON profiles. Else
	// they are narrowed to what the kernel looks at, so that no argument with a
	// bit above passes that was not meant to (CVE-2019-10063).
	Exact bool
}

// MaxSize is the largest file, in bytes, that is read: 50,000 rules are well below.
const MaxSize = 16 << 20

// Read reads a profile of either form: JSON begins with a brace, TOML can't.
// The architectures are those that the profile is for beside the host's own;
// of a TOML profile there are none. Errors are of type *Error.
func Read(file string, data []byte, host Host) (seccomp.Profile, []seccomp.Arch, []Warning, error) {
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return ReadOCI(file, data, host)
	}
	p, warnings, err := ReadTOML(file, data, host)
	return p, []seccomp.Arch{host.Arch}, warnings, err
}

// tooLarge refuses what is no profile before it is parsed.
func tooLarge(file string, data []byte) error {
	if len(data) <= MaxSize {
		return nil
	}
	return &Error{File: file, Err: fmt.Errorf("%d bytes: a profile may have 16 MiB; is this the right file?", len(data))}
}

// names of the filter flags, as profiles write them and as OCI does.
var flagNames = [...]struct {
	flag      uint
	toml, oci string
}{
	{1 << 0, "tsync", "SECCOMP_FILTER_FLAG_TSYNC"},
	{1 << 1, "log", "SECCOMP_FILTER_FLAG_LOG"},
	{1 << 2, "spec-allow", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"},
	{1 << 5, "wait-killable-recv", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"},
}

// passes reports whether an action lets a call happen, now or after a tracer saw it.
func passes(a seccomp.Action) bool {
	return a == seccomp.Allow || a == seccomp.Log || a&0xffff0000 == seccomp.Trace(0)
}

// unknownFor is what runc answers to calls newer than a profile: ENOSYS, so that
// programs fall back to older calls, but where the profile lets pass what it does
// not name.
func unknownFor(byDefault seccomp.Action) seccomp.Action {
	if passes(byDefault) {
		return byDefault
	}
	return enosys
}

// checkCall refuses what is no call's name or number.
func checkCall(name string) error {
	if isNumber(name) || seccomp.Known(name) {
		return nil
	}
	if near := seccomp.Nearest(name); near != "" {
		return fmt.Errorf("there is no system call %s: did you mean %s?", document.Clip(name), near)
	}
	return fmt.Errorf("there is no system call %s in Linux %s: write the number of a newer one", document.Clip(name), seccomp.Kernel)
}

// elsewhere says of a call that the host does not have who has it, or "".
func elsewhere(name string, host seccomp.Arch) string {
	if isNumber(name) {
		return ""
	}
	if _, ok := host.Number(name); ok {
		return ""
	}
	var on []string
	for _, a := range seccomp.Archs() {
		if _, ok := a.Number(name); ok {
			on = append(on, a.String())
		}
	}
	if len(on) == 0 {
		return name + " is no call of an architecture that is known here: the rule says nothing"
	}
	return fmt.Sprintf("%s exists only on %s: on %s the rule says nothing", name, strings.Join(on, ", "), host)
}
