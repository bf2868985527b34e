package learn

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// allowed is the verdict of a filter that was compiled from the groups.
func allowed(t *testing.T, groups []seccomp.Group, name string, args ...uint64) bool {
	t.Helper()
	amd64, ok := seccomp.ArchByName("amd64")
	if !ok {
		t.Fatal("amd64 is no architecture")
	}
	prog, err := seccomp.Compile(seccomp.Profile{
		Default: seccomp.Errno(unix.EPERM), Unknown: seccomp.Errno(unix.ENOSYS),
		BadArch: seccomp.KillProcess, Groups: groups,
	}, amd64)
	if err != nil {
		t.Fatal(err)
	}
	nr, ok := amd64.Number(name)
	if !ok {
		t.Fatalf("%s is no call", name)
	}
	d := seccomp.Data{NR: nr, Arch: amd64.Audit}
	copy(d.Args[:], args)
	action, _, err := seccomp.Simulate(prog, d)
	if err != nil {
		t.Fatal(err)
	}
	return action == seccomp.Allow
}

func add(t *testing.T, c *Calls, name string, args ...uint64) {
	t.Helper()
	var a [6]uint64
	copy(a[:], args)
	if !c.Add(name, a, "/usr/bin/prog") {
		t.Fatalf("%s was not taken", name)
	}
}

func TestWhatWasSeenIsAllowedAndNoMore(t *testing.T) {
	var c Calls
	add(t, &c, "getppid")
	add(t, &c, "socket", unix.AF_UNIX, unix.SOCK_STREAM, 0)
	add(t, &c, "socket", unix.AF_INET, unix.SOCK_DGRAM, 0)
	add(t, &c, "ioctl", 1, 1<<32|unix.TCGETS)
	add(t, &c, "mmap", 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	add(t, &c, "mmap", 0, 4096, unix.PROT_EXEC, unix.MAP_SHARED)
	add(t, &c, "clone", unix.CLONE_VM|uint64(unix.SIGCHLD))
	groups := c.Groups()
	for _, test := range []struct {
		call string
		args []uint64
		want bool
	}{
		{"getppid", nil, true},
		{"getpgrp", nil, false},
		{"socket", []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, true},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_DGRAM, 0}, true},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_STREAM, 0}, false}, // combinations, not each argument alone
		{"socket", []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, false},
		{"ioctl", []uint64{9, unix.TCGETS}, true}, // the descriptor differs from run to run
		{"ioctl", []uint64{0, unix.TIOCSTI}, false},
		{"ioctl", []uint64{0, 1<<32 | unix.TIOCSTI}, false},
		{"mmap", []uint64{0, 0, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_PRIVATE}, true}, // a union of bits
		{"mmap", []uint64{0, 0, unix.PROT_READ, unix.MAP_PRIVATE | unix.MAP_FIXED}, false},
		{"mprotect", []uint64{0, 0, unix.PROT_READ | unix.PROT_WRITE}, true},
		{"mprotect", []uint64{0, 0, unix.PROT_EXEC}, false},
		{"clone", []uint64{uint64(unix.SIGCHLD)}, true},
		{"clone", []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, false},
		{"exit_group", nil, true}, // of the core
		{"execve", nil, true},     // else the command itself could not start
	} {
		if got := allowed(t, groups, test.call, test.args...); got != test.want {
			t.Errorf("%s%#x: allowed %v, want %v", test.call, test.args, got, test.want)
		}
	}
}

func TestManyValuesAreAnyValue(t *testing.T) {
	for _, test := range []struct {
		values uint64
		want   bool
	}{{maxValues, false}, {maxValues + 1, true}} {
		var c Calls
		for i := range test.values {
			add(t, &c, "ioctl", 0, i)
		}
		if got := allowed(t, c.Groups(), "ioctl", 0, 9999); got != test.want {
			t.Errorf("%d values seen: another is allowed: %v, want %v", test.values, got, test.want)
		}
	}
}

func TestKeepsABoundedAmount(t *testing.T) {
	var c Calls
	for i := range uint64(10_000) {
		var a [6]uint64
		a[1] = i
		c.Add("ioctl", a, string(rune('a'+i%26)))
	}
	if k := c.seen["ioctl"]; k.count != 10_000 || len(k.values) != 0 || len(k.programs) != maxPrograms {
		t.Errorf("kept %d values and %d programs of %d calls", len(k.values), len(k.programs), k.count)
	}
}

func TestGroupsSayWhoCalled(t *testing.T) {
	var c Calls
	add(t, &c, "getppid")
	c.Add("getuid", [6]uint64{}, "/bin/other")
	c.Add("getuid", [6]uint64{}, "/bin/other")
	groups := c.Groups()
	if len(groups) != 3 || groups[1].Reason != "made by /bin/other, times: 2" || groups[2].Reason != "made by /usr/bin/prog, times: 1" {
		t.Errorf("%+v", groups[1:])
	}
}

func TestMergeOfTwoRunsCoversBoth(t *testing.T) {
	var first, second Calls
	add(t, &first, "socket", unix.AF_UNIX, unix.SOCK_STREAM, 0)
	add(t, &first, "unshare", unix.CLONE_FS|unix.CLONE_FILES)
	add(t, &second, "socket", unix.AF_UNIX, unix.SOCK_STREAM, 0)
	add(t, &second, "socket", unix.AF_INET, unix.SOCK_STREAM, 0)
	add(t, &second, "unshare", unix.CLONE_FS)
	old := first.Groups()
	added := Missing(old, second.Groups())
	if len(added) != 1 || len(added[0].Rules) != 1 {
		t.Fatalf("added %+v, want the one rule for AF_INET", added)
	}
	merged := append(old, added...)
	for _, family := range []uint64{unix.AF_UNIX, unix.AF_INET} {
		if !allowed(t, merged, "socket", family, unix.SOCK_STREAM, 0) {
			t.Errorf("family %d, which one of the runs used, is refused", family)
		}
	}
	if again := Missing(merged, second.Groups()); len(again) != 0 {
		t.Errorf("the same run once more adds %+v", again)
	}
}
