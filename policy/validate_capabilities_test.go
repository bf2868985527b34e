package policy

import (
	"strings"
	"testing"
)

// TestValidateCapabilities: those that undo the policy are refused, with the
// remedy that there is. sandbox.TestCapabilitiesUndo tries them on the kernel.
func TestValidateCapabilities(t *testing.T) {
	for _, c := range []struct {
		caps    string
		seccomp string
		share   bool // the host's user namespace
		all     bool // the host's root, writable, and nothing else
		want    string
	}{
		{caps: "CAP_SYS_ADMIN", seccomp: "default"},
		{caps: "CAP_SYS_ADMIN", seccomp: "build", share: true},
		{caps: "CAP_SYS_ADMIN", seccomp: "none", want: "CAP_SYS_ADMIN undoes the policy: with it and without a seccomp filter"},
		{caps: "CAP_SYS_ADMIN", want: "say --seccomp default, or leave the capability out; a program that mounts"},
		{caps: "CAP_SYS_ADMIN", seccomp: "none", all: true},
		{caps: "CAP_SYS_ADMIN", seccomp: "none", share: true, want: "mount_setattr"},
		{caps: "CAP_DAC_READ_SEARCH", seccomp: "none"},
		{caps: "CAP_DAC_READ_SEARCH", seccomp: "none", share: true, want: "open_by_handle_at"},
		{caps: "CAP_DAC_READ_SEARCH", seccomp: "default", share: true},
		{caps: "CAP_SYS_PTRACE", seccomp: "none"},
		{caps: "CAP_SYS_PTRACE", seccomp: "default", share: true, want: "leave it out, or unshare user"},
		{caps: "CAP_SYS_MODULE", seccomp: "none", share: true, all: true, want: "code into the kernel"},
		{caps: "CAP_SYS_MODULE", seccomp: "none"},
		{caps: "CAP_MKNOD", seccomp: "none", share: true},
		{caps: "CAP_NET_ADMIN", seccomp: "none"},
		{caps: "CAP_SYS_CHROOT", seccomp: "none"},
	} {
		for _, landlock := range []Landlock{LandlockRequire, LandlockOff} {
			p, _ := Builtin("default")
			if err := Expand(p, "/home/u", "/home/u/project"); err != nil {
				t.Fatal(err)
			}
			p.Capabilities, p.Seccomp, p.Landlock, p.Unshare.User = []string{c.caps}, c.seccomp, landlock, !c.share
			if c.all {
				p.Mounts = []Mount{{Kind: Write, Path: "/"}}
			}
			if c.seccomp == "" {
				p.Seccomp = "none"
			}
			err := Validate(p)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
}

// TestValidateCapabilityOrigin: who asked for it is named, also where "ALL" did.
func TestValidateCapabilityOrigin(t *testing.T) {
	for _, name := range []string{"sys_admin", "ALL"} {
		p, _ := Builtin("default")
		p.Seccomp = "none"
		if _, err := addCapability(p, name, "--cap-add "+name); err != nil {
			t.Fatal(err)
		}
		if err := Expand(p, "/home/u", "/home/u/project"); err != nil {
			t.Fatal(err)
		}
		if err := Validate(p); err == nil || !strings.HasPrefix(err.Error(), "--cap-add "+name+": CAP_SYS_ADMIN undoes") {
			t.Errorf("%v", err)
		}
	}
}
