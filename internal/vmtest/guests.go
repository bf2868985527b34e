package main

import "slices"

// guest is one machine.
type guest struct {
	name, what string
	arch       string // GOARCH
	suite      string // of Debian
	kernel     string // package that depends on the kernel's
	quick      bool
	packages   []string // user land
	cmdline    string
	systemd    bool     // it is pid 1, and an ordinary user has a login session
	setup      []string // what its init does before the tests, see package guest
	tests      []tests
	// lacks are the reasons for which tests may skip here: regular expressions.
	lacks []string // beside those of without
}

// tests are those of one package.
type tests struct {
	dir  string // from the module's root
	run  string // regular expression of -test.run; "": all
	skip string // of -test.skip
	user bool   // as the ordinary user of a login session
}

// base is the user land of all: what the tests run inside.
var base = []string{
	"base-files", "base-passwd", "bash", "dash", "coreutils", "grep", "sed", "gawk", "findutils", "util-linux", "mount", "procps", "python3",
	"libc-bin", "login", "passwd", "diffutils", "hostname", "debianutils", "libcap2-bin", "file", "bc", "uidmap", "git", "strace",
}

// integration are the tests that ask the kernel: the rest is the same everywhere. What
// measures time by the millisecond is left out, as emulation is slow.
var integration = []tests{
	{dir: "internal/cgroup"},
	{dir: "internal/host"},
	{dir: "internal/supervise"},
	{dir: "internal/cli", run: "TestScripts|TestKilledCloche|TestDoctor"},
	{dir: "sandbox", run: sandboxTests},
	{dir: "seccomp", run: "TestNotify|TestThreads|TestLoad"},
	{dir: "attack", run: "TestHalves|TestProfiles|TestTracing|TestWorking"},
}

const sandboxTests = "^Test(Namespaces|Shared|FreshProc|OldRootGone|ReadOnly|Write|Hide|Overlay|FileAndSymlink|Credentials|Descriptors|Network|FailedStarts|" +
	"Link|Notify|Ranges|ProcOptions|Keyring|ForeignCalls|Rlimit|CapDrop|SharePid|DoubleFork|NoInit|Guarded|Hidden|Devices|BehindHostLink|" +
	"Output|Streams|Pipes|Ends|NotFound|Signal|ContextEndsAll|WallTime|CPUTime|MemoryLimit|PidsLimit|FilterKill|Errors|Python|Git)"

// quickly are those of them that find most in a minute.
var quickly = []tests{
	{dir: "internal/cgroup"},
	{dir: "internal/host"},
	{dir: "internal/cli", run: "TestScripts/(root|user)/^(run|network)$"},
	{dir: "sandbox", run: "^Test(Namespaces|FreshProc|OldRootGone|ReadOnly|Overlay|Credentials|Descriptors|Notify|NoInit|Ends|WallTime|CPUTime|MemoryLimit|PidsLimit)"},
	{dir: "attack", run: "TestHalves/(ptrace|namespaces|credentials)"},
}

// without are the reasons that every guest has to skip a test.
var without = []string{
	"cgroup v1", "a v1 hierarchy", "is not installed", "CONFIG_X86_X32_ABI", "CONFIG_IA32_EMULATION", "^needs Test.* to start it$",
	"only root|only who may make a cgroup|an ordinary user|as root|needs root|the host's root|uid 0 without",
	"temporary files are memory", "needs /var/tmp on a disk", "perf_event_paranoid", "dmesg_restrict", "has no /sys/class/dmi",
	"has no CAP_SYS_RESOURCE", "this process is in the root of every cgroup hierarchy", "no interface that received anything",
}

var guests = []*guest{
	{
		name: "debian-12", what: "Debian's 6.1 cloud kernel, cgroup v2 without systemd",
		arch: "amd64", suite: "bookworm", kernel: "linux-image-cloud-amd64", quick: true,
		packages: base, tests: integration,
	},
	{
		name: "backports", what: "Debian's 6.12 cloud kernel from bookworm-backports, cgroup v2 without systemd",
		arch: "amd64", suite: "bookworm-backports", kernel: "linux-image-cloud-amd64", quick: true,
		packages: base, tests: integration,
	},
	{
		name: "arm64", what: "Debian's 6.1 cloud kernel for arm64, cgroup v2 without systemd",
		arch: "arm64", suite: "bookworm", kernel: "linux-image-cloud-arm64",
		packages: base, tests: integration,
		lacks: []string{"a program of x86|other architecture|GOARCH|amd64"},
	},
	{
		name: "systemd", what: "Debian 12 with systemd as pid 1, an ordinary user with a login session",
		arch: "amd64", suite: "bookworm", kernel: "linux-image-cloud-amd64", systemd: true,
		packages: slices.Concat(base, []string{"systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "libpam-modules", "libpam-runtime", "kmod"}),
		cmdline:  "systemd.unit=multi-user.target systemd.mask=systemd-networkd-wait-online.service",
		tests: []tests{
			{dir: "internal/cli", run: "TestSystemdSession", user: true},
			{dir: "internal/cgroup"},
			{dir: "internal/cgroup/systemd"},
			{dir: "sandbox", run: "^Test(Namespaces|CPUTime|MemoryLimit|PidsLimit|WallTime|Ends)"},
			{dir: "internal/cli", run: "TestScripts/(root|user)/^(run|limits|doctor)$"},
		},
		lacks: []string{"a name in /etc/passwd", "dbus-daemon"},
	},
}
