package main

// guest is one machine.
type guest struct {
	name, what string
	arch       string // GOARCH
	suite      string // of Debian
	kernel     string // package that depends on the kernel's
	quick      bool
	packages   []string // user land
	cmdline    string
	setup      []string // what its init does before the tests, see package guest
	tests      []tests
	// lacks are the reasons for which tests may skip here: regular expressions.
	lacks []string
}

// tests are those of one package.
type tests struct {
	dir  string // from the module's root
	run  string // regular expression of -test.run; "": all
	skip string // of -test.skip
}

// base is the user land of all: what the tests run inside.
var base = []string{
	"base-files", "base-passwd", "bash", "dash", "coreutils", "grep", "sed", "gawk", "findutils", "util-linux", "mount", "procps", "python3",
	"libc-bin", "login", "passwd", "diffutils", "hostname", "debianutils", "libcap2-bin", "file", "bc", "uidmap", "git", "strace",
}

// integration are the tests that ask the kernel: the rest is the same everywhere.
var integration = []tests{
	{dir: "internal/cgroup"},
	{dir: "internal/host"},
	{dir: "internal/supervise"},
	{dir: "internal/cli", run: "TestScripts|TestKilledCloche|TestDoctor"},
	{dir: "sandbox", skip: "TestPrograms|TestCorpus|TestConfine|TestMutants"},
	{dir: "seccomp", run: "TestNotify|TestThreads|TestLoad"},
	{dir: "attack", run: "TestHalves|TestProfiles|TestTracing|TestWorking"},
}

var guests = []*guest{
	{
		name: "debian-12", what: "Debian's 6.1 cloud kernel, cgroup v2 without systemd",
		arch: "amd64", suite: "bookworm", kernel: "linux-image-cloud-amd64", quick: true,
		packages: base, tests: integration,
		lacks: []string{
			"no cgroup v1|cgroup v1",
			"is not installed",
			"CONFIG_X86_X32_ABI", "CONFIG_IA32_EMULATION",
			"only root|only who may make a cgroup|an ordinary user|as root|needs root|root of",
		},
	},
	{
		name: "backports", what: "Debian's 6.12 cloud kernel from bookworm-backports, cgroup v2 without systemd",
		arch: "amd64", suite: "bookworm-backports", kernel: "linux-image-cloud-amd64", quick: true,
		packages: base, tests: integration,
		lacks: []string{
			"no cgroup v1|cgroup v1",
			"is not installed",
			"CONFIG_X86_X32_ABI", "CONFIG_IA32_EMULATION",
			"only root|only who may make a cgroup|an ordinary user|as root|needs root|root of",
		},
	},
}
