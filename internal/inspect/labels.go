package inspect

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Label is what a security module calls a process.
type Label struct {
	Module string `json:"module"` // "apparmor", "selinux", "smack"
	Label  string `json:"label"`
}

// labels reads those of the process, or of a thread: dir is where its attr directory is.
func (t *target) labels(dir string) []Label {
	all := []Label{}
	for _, m := range [...]struct{ module, file string }{
		{"apparmor", "apparmor/current"},
		{"smack", "smack/current"},
		{"", "current"}, // of whichever module came first
	} {
		text, err := t.read(dir + m.file)
		text = strings.TrimRight(text, "\x00\n")
		switch {
		case err == unix.ENOENT, err == unix.EINVAL: // no module that labels processes
			continue
		case err != nil:
			t.missed("the labels of security modules", err)
			continue
		case text == "" || m.module == "" && len(all) > 0:
			continue
		}
		if m.module == "" {
			m.module = labelModule(text)
		}
		all = append(all, Label{m.module, text})
	}
	return all
}

// labelModule tells SELinux's user:role:type:level from the others.
func labelModule(label string) string {
	if strings.Count(label, ":") >= 3 {
		return "selinux"
	}
	if b, err := os.ReadFile("/sys/kernel/security/lsm"); err == nil {
		for m := range strings.SplitSeq(strings.TrimSpace(string(b)), ",") {
			if m == "apparmor" || m == "smack" || m == "selinux" {
				return m
			}
		}
	}
	return "security module"
}

// Landlock is what can be known of landlock(7).
type Landlock struct {
	ABI    int    `json:"abi"`    // of the kernel; 0: it has none, or it is switched off
	Domain Answer `json:"domain"` // whether the process is in one
	Why    string `json:"why"`
}

// landlock says what the kernel tells of a process's domain: nothing. There is no file in
// /proc and no call that asks; a record of audit(8) names domains as they deny something.
func landlock() Landlock {
	abi, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return Landlock{Domain: No, Why: "this kernel has no Landlock, or it is switched off (" + unix.ErrnoName(e) + ")"}
	}
	return Landlock{ABI: int(abi), Domain: Unknown, Why: "no kernel tells whether a process is in a Landlock domain"}
}
