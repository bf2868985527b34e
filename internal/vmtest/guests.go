package main

import (
	"cmp"
	"slices"
)

// guest is one machine.
type guest struct {
	name, what string
	arch       string // GOARCH; "": amd64
	suite      string // of Debian; "": bookworm
	quick      bool
	packages   []string // user land; nil: base
	cmdline    string
	systemd    bool     // it is pid 1, and an ordinary user has a login session
	setup      []string // what its init does before the tests, see package guest
	tests      []tests
	checks     []check
	// lacks are the reasons for which tests may skip here: regular expressions.
	lacks []string // beside those of without
}

// tests are those of one package.
type tests struct {
	dir  string // from the module's root
	run  string // regular expression of -test.run; "": all
	user bool   // as the ordinary user of a login session
}

// check is a command, and what must come of it.
type check struct {
	user   bool   // it is the ordinary user's; else root's
	run    string // shell
	status int
	says   string // extended regular expression of a line
}

// Checks that several hosts have.
var (
	runs       = []check{{run: "cloche run -- echo ran", says: "^ran$"}, {run: "cloche run --wall-time 9s -- echo ran", says: "^ran$"}}
	userRuns   = []check{{user: true, run: "cloche run -- echo ran", says: "^ran$"}, {user: true, run: "cloche run --wall-time 9s -- echo ran", says: "^ran$"}}
	doctorRuns = []check{{run: "cloche doctor", says: "complete sandbox +works"}, {user: true, run: "cloche doctor", says: "complete sandbox +works"}}
)

// writesSlowly writes 1.5 MiB at 1 MiB a second.
const (
	writesSlowly = "d=$(mktemp -d /var/tmp/XXXXXX); cloche run --write $d --io $d:wbps=1M -- dd if=/dev/zero of=$d/data bs=256k count=6 oflag=direct"
	tookASecond  = "copied, [1-9]"
)

// handOver is what root does for a user who may make no cgroup.
const handOver = "d=/sys/fs/cgroup/handed; mkdir -p $d/start; for c in /sys/fs/cgroup $d; do echo +memory +pids >$c/cgroup.subtree_control; done; chown tester $d $d/cgroup.procs $d/cgroup.subtree_control $d/start $d/start/cgroup.procs; "

// base is the user land of all: what the tests run inside.
var base = []string{
	"base-files", "base-passwd", "bash", "dash", "coreutils", "grep", "sed", "gawk", "findutils", "util-linux", "mount", "procps", "python3",
	"libc-bin", "login", "passwd", "diffutils", "hostname", "debianutils", "libcap2-bin", "file", "bc", "uidmap", "git", "strace", "e2fsprogs", "busybox-static",
}

// integration are the tests that ask the kernel: the rest is the same everywhere. What
// measures time by the millisecond is left out, as emulation is slow.
var integration = []tests{
	{dir: "internal/cgroup"},
	{dir: "internal/oci", run: containerTests},
	{dir: "internal/oci/cgroups"},
	{dir: "internal/host"},
	{dir: "internal/inspect"},
	{dir: "internal/overlay", run: "Test(Changes|KeptOverRuns|Meanwhile|Attributes|DangerousFiles|RedirectAndMetacopy|Discard)"},
	{dir: "internal/supervise"},
	{dir: "internal/cli", run: "TestScripts/(root|user)/^(run|build|can|doctor|hidden|limits|network|programs|result|status|writing)$|TestKilledCloche|TestDoctor"},
	{dir: "sandbox", run: sandboxTests},
	{dir: "seccomp", run: "TestNotify|TestThreads|TestLoad"},
	{dir: "attack", run: "TestHalves|TestTracing|TestWorking"},
}

// containerTests are those of the OCI runtime that make containers. A package comes
// before those in its folder.
const containerTests = "^Test(Lifecycle|Update|Stats|OOMEvent|SystemdCgroup)$"

const sandboxTests = "^Test(Namespaces|Shared|FreshProc|OldRootGone|ReadOnly|Write|Hide|Overlay|FileAndSymlink|Credentials|Descriptors|Network|FailedStarts|" +
	"Link|Notify|Ranges|ProcOptions|Keyring|ForeignCalls|Rlimit|CapDrop|SharePid|DoubleFork|NoInit|Guarded|Hidden|Devices|BehindHostLink|" +
	"Output|Streams|Pipes|Ends|NotFound|Signal|ContextEndsAll|WallTime|CPUTime|MemoryLimit|PidsLimit|FilterKill|Errors|Python|Git)"

// quickly are those of them that find most in a minute.
var quickly = []tests{
	{dir: "internal/cgroup"},
	{dir: "internal/oci", run: containerTests},
	{dir: "internal/oci/cgroups"},
	{dir: "internal/host"},
	{dir: "internal/cli", run: "TestScripts/(root|user)/^run$"},
	{dir: "sandbox", run: "^Test(Namespaces|FreshProc|ReadOnly|Overlay|Credentials|Descriptors|NoInit|Ends|WallTime|CPUTime|MemoryLimit|PidsLimit)"},
	{dir: "attack", run: "TestHalves/(ptrace|namespaces|credentials)"},
}

// without are the reasons that every guest has to skip a test.
var without = []string{
	"cgroup v1", "a v1 hierarchy", "is not installed", "CONFIG_X86_X32_ABI", "CONFIG_IA32_EMULATION", "^needs Test.* to start it$",
	"only root|only who may make a cgroup|an ordinary user|as root|needs root|the host's root|uid 0 without",
	"temporary files are memory", "perf_event_paranoid", "dmesg_restrict", "this machine has no ", "this kernel has no ", "the kernel does not grant it to this user", "needs ranges of subordinate ids",
	"has no CAP_SYS_RESOURCE", "this process is in the root of every cgroup hierarchy", "no interface that received anything",
}

func init() {
	for _, g := range guests {
		g.arch, g.suite = cmp.Or(g.arch, "amd64"), cmp.Or(g.suite, "bookworm")
		if g.packages == nil {
			g.packages = base
		}
	}
}

// kernel is the package that depends on its kernel's.
func (g *guest) kernel() string { return "linux-image-cloud-" + g.arch }

var guests = []*guest{
	{
		name: "debian-12", what: "Debian's 6.1 cloud kernel, cgroup v2 without systemd",
		quick: true, tests: integration,
		checks: []check{
			{run: writesSlowly, says: tookASecond},
			{user: true, run: "cloche doctor", says: "why: +this kernel's Landlock can't restrict"},
			// A user who may make no cgroup is told how to come to one, and that is so.
			{user: true, run: "cloche run --memory 64M -- true", status: 125, says: "user 1000 may not make a cgroup in /sys/fs/cgroup; have root make a directory .*start you in a child of it"},
			{run: handOver + "sh -c 'echo $$ >$0/start/cgroup.procs; exec setpriv --reuid tester --regid tester --init-groups cloche run --memory 64M --pids 9 -- echo ran' $d", says: "^ran$"},
			// Cloche inside Cloche: it says why not, and what it says to do works.
			{run: "cloche run --profile open -- cloche run -- true", status: 125, says: "EPERM: uid 0 has no CAP_SETFCAP here, .*start Cloche as another user"},
			{run: "cloche run --profile open -- cloche doctor", status: 1, says: "why: +uid 0 has no CAP_SETFCAP here"},
			{run: "cloche run --profile open --cap-add CAP_SETFCAP -- cloche run --share pid --read /proc -- echo ran", says: "^ran$"},
			{user: true, run: "cloche run --profile open -- cloche run -- true", status: 125, says: "no new proc be mounted .*--share pid --read /proc$"},
			{user: true, run: "cloche run --profile open -- cloche doctor", status: 1, says: "remedy: .*--share pid --read /proc$"},
			{user: true, run: "cloche run --profile open -- cloche run --share pid --read /proc -- echo ran", says: "^ran$"},
			{user: true, run: "cloche run -- cloche run -- true", status: 125, says: "EPERM: a seccomp filter that this process was started under refuses it .*start Cloche outside of the sandbox"},
			{user: true, run: "cloche run -- cloche doctor", status: 1, says: "why: +a seccomp filter that this process was started under refuses it"},
		},
	},
	{
		name: "backports", what: "Debian's 6.12 cloud kernel from bookworm-backports, cgroup v2 without systemd",
		suite: "bookworm-backports", quick: true, tests: integration,
	},
	{
		name: "arm64", what: "Debian's 6.1 cloud kernel for arm64, cgroup v2 without systemd",
		arch: "arm64",
		tests: []tests{
			{dir: "internal/cgroup"},
			{dir: "internal/host"},
			{dir: "internal/supervise"},
			{dir: "internal/cli", run: "TestScripts/(root|user)/^(run|build)$|TestKilledCloche"},
			{dir: "sandbox", run: sandboxTests},
			{dir: "seccomp", run: "TestNotify|TestThreads|TestLoad"},
			{dir: "attack", run: "TestHalves/(ptrace|descriptors|mounts|namespaces|credentials|signals|seccomp|network)|TestTracing|TestWorking"},
		},
		lacks: []string{"amd64 alone has other ABIs"},
	},
	{
		name: "systemd", what: "Debian 12 with systemd as pid 1, an ordinary user with a login session",
		systemd:  true,
		packages: slices.Concat(base, []string{"systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "libpam-modules", "libpam-runtime", "kmod", "busybox-static"}),
		cmdline:  "systemd.unit=multi-user.target systemd.mask=systemd-networkd-wait-online.service",
		tests: []tests{
			{dir: "internal/cli", run: "TestSystemdSession", user: true},
			{dir: "internal/cgroup"},
			{dir: "internal/cgroup/systemd"},
			{dir: "internal/oci", run: containerTests},
			{dir: "internal/oci/cgroups"},
			{dir: "internal/oci/late"},
			{dir: "internal/oci/late", run: "TestUnit$", user: true},
			{dir: "sandbox", run: "^Test(Namespaces|CPUTime|MemoryLimit|PidsLimit|WallTime|Ends)"},
			{dir: "internal/cli", run: "TestScripts/(root|user)/^(run|limits|doctor)$"},
		},
		checks: []check{
			{run: "runuser -l tester -c 'cloche run --io /var/tmp:wbps=1M -- true'", status: 125, says: "a drop-in for user@.service"},
			{run: "runuser -l tester -c 'cloche doctor' | grep -A2 '^  disk '", says: "remedy: as root: a drop-in for user@.service"},
			{run: "mkdir /etc/systemd/system/user@.service.d; printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf; " +
				"systemctl daemon-reload; systemctl restart user@1000; runuser -l tester -c 'cloche doctor'", says: "disk +works +--io, in a scope"},
			{run: "runuser -l tester -c '" + writesSlowly + "'", says: tookASecond},
			{run: writesSlowly, says: tookASecond},
			{run: containerScript, says: "^$"},
			{run: "container system.slice root >/tmp/said; rc=$?; cat /tmp/said; exit $rc", says: "Slice=system.slice .*"},
			{run: "tr '\n' ' ' </tmp/said", says: "MemoryMax=67108864 .*TasksMax=20 .*/system.slice/cri-cloche-root.scope .*gone"},
			{run: "runuser -l tester -c 'container user.slice tester --rootless' >/tmp/said; rc=$?; cat /tmp/said; exit $rc", says: " gone$"},
			{run: "tr '\n' ' ' </tmp/said", says: "MemoryMax=67108864 .*TasksMax=20 .*/user@1000.service/.*cri-cloche-tester.scope .*gone"},
			{run: "runuser -l tester -c 'cloche run --memory 64M -- sleep 333' >/dev/null 2>&1 & sleep 4; pgrep -u tester -f 'sleep 333'", says: "^[0-9]+$"},
			{run: "loginctl terminate-user tester; sleep 4; ! pgrep -u tester -f 'sleep 333' && test -z \"$(find /sys/fs/cgroup -name 'cloche-[0-9]*')\""},
		},
		lacks: []string{"a name in /etc/passwd", "dbus-daemon"},
	},
	// Hosts that are hostile or poor: what works, works; what can't is refused with its cause.
	{
		name: "no-userns", what: "user namespaces are root's alone, by Debian's sysctl",
		setup: []string{"sysctl kernel.unprivileged_userns_clone=0"},
		checks: slices.Concat(runs, []check{
			{user: true, run: "cloche run -- true", status: 125, says: "EPERM: kernel.unprivileged_userns_clone is 0: .*sysctl -w kernel.unprivileged_userns_clone=1"},
			{user: true, run: "cloche doctor", status: 1, says: "why: +kernel.unprivileged_userns_clone is 0"},
			{run: "cloche doctor", says: "complete sandbox +works"},
		}),
	},
	{
		name: "userns-limit", what: "no user namespaces at all, by their limit",
		setup: []string{"sysctl user.max_user_namespaces=0"},
		checks: []check{
			{run: "cloche run -- true", status: 125, says: "ENOSPC: user.max_user_namespaces is 0: .*sysctl -w user.max_user_namespaces"},
			{run: "cloche run --share user -- echo ran", says: "^ran$"},
			{user: true, run: "cloche run -- true", status: 125, says: "ENOSPC: user.max_user_namespaces is 0: .*sysctl -w user.max_user_namespaces"},
			{user: true, run: "cloche doctor", status: 1, says: "why: +user.max_user_namespaces is 0"},
			{run: "cloche doctor", status: 1, says: "remedy: .*--share user$"},
		},
	},
	{
		name: "yama", what: "Yama: ptrace for administrators alone",
		setup:  []string{"sysctl kernel.yama.ptrace_scope=2"},
		checks: slices.Concat(runs, userRuns, doctorRuns),
	},
	{
		name: "memfd-noexec", what: "memory files can't be executed unless asked for (vm.memfd_noexec=1)",
		suite:  "bookworm-backports",
		setup:  []string{"sysctl vm.memfd_noexec=1"},
		checks: slices.Concat(runs, userRuns, doctorRuns),
	},
	{
		name: "memfd-never", what: "memory files can't be executed (vm.memfd_noexec=2)",
		suite: "bookworm-backports",
		setup: []string{"sysctl vm.memfd_noexec=2"},
		checks: []check{
			{run: "cloche run -- true", status: 125, says: "vm.memfd_noexec=2 forbids executing memory files; set it to 1"},
			{user: true, run: "cloche run -- true", status: 125, says: "vm.memfd_noexec=2 forbids executing memory files; set it to 1"},
			{user: true, run: "cloche build -o /tmp/built -- /bin/echo ran && /tmp/built", says: "^ran$"},
			{run: "cloche doctor", status: 1, says: "why: +vm.memfd_noexec is 2"},
		},
	},
	{
		name: "no-landlock", what: "Landlock is not among the kernel's security modules",
		cmdline: "lsm=lockdown,capability,yama,apparmor",
		checks: slices.Concat(runs, userRuns, []check{
			{run: "cloche doctor", status: 1, says: "complete sandbox +works"},
			{user: true, run: "cloche doctor", status: 1, says: "complete sandbox +works"},
			{run: "cloche doctor", status: 1, says: "why: +this kernel has Landlock, and it was not switched on at boot"},
			{user: true, run: "cloche run --landlock require -- true", status: 125, says: "andlock"},
		}),
	},
	{
		name: "hidepid", what: "/proc shows everybody their own processes (hidepid=2)",
		setup:  []string{"sh mount -o remount,hidepid=2 /proc"},
		checks: slices.Concat(runs, userRuns, doctorRuns),
	},
	{
		name: "masked-proc", what: "parts of /proc are covered, as in a container of Docker's",
		setup: []string{"sh mount -t tmpfs none /proc/acpi && mount --bind /dev/null /proc/kcore"},
		checks: []check{
			{run: "cloche run -- true", status: 125, says: "no new proc be mounted .*--share pid --read /proc$"},
			{user: true, run: "cloche run -- true", status: 125, says: "no new proc be mounted .*--share pid --read /proc$"},
			{run: "cloche run --share pid --read /proc -- echo ran", says: "^ran$"},
			{user: true, run: "cloche run --share pid --read /proc -- echo ran", says: "^ran$"},
			{run: "cloche doctor", status: 1, says: "a fresh /proc +missing"},
			{user: true, run: "cloche doctor", status: 1, says: "why: +this host's own /proc has parts masked"},
		},
	},
	{
		name: "read-only", what: "the root is read-only, and there is no /dev/net/tun",
		setup: []string{"sh rm -f /dev/net/tun; mount -o remount,bind,ro /"},
		checks: slices.Concat(runs, userRuns, doctorRuns, []check{
			{run: "touch /x", status: 1, says: "Read-only file system"},
			{run: "cloche doctor", says: "why: +there is no such device; no built-in profile needs it"},
		}),
	},
	{
		name: "docker", what: "Debian 12 with Docker, and Cloche in its containers",
		packages: slices.Concat(base, []string{"docker.io", "apparmor", "busybox-static", "tar"}),
		setup:    dockerSetup,
		checks:   dockerChecks,
	},
	{
		name: "apparmor", what: "Debian 13, where AppArmor refuses user namespaces to cloche, and then has the profile that Cloche ships",
		suite:    "trixie",
		packages: slices.Concat(base, []string{"apparmor"}),
		setup: []string{
			"sh cp /usr/local/bin/cloche /usr/local/bin/denied",
			`sh printf 'abi <abi/4.0>,\nprofile denied /usr/local/bin/denied flags=(attach_disconnected) {\n\tallow all,\n\taudit deny userns create,\n}\n' >/run/denied && apparmor_parser --replace /run/denied`,
			"sh apparmor_parser --replace /etc/apparmor.d/cloche",
		},
		checks: slices.Concat(runs, userRuns, []check{
			{run: "grep -E '^(cloche|denied) ' /sys/kernel/security/apparmor/profiles | sort | tr '\\n' ' '", says: "cloche .*denied "},
			{user: true, run: "denied run -- true", status: 125, says: "EACCES: the AppArmor profile denied .*packaging/apparmor/cloche"},
			{user: true, run: "denied run --wall-time 9s -- true", status: 125, says: "EACCES: the AppArmor profile denied .*packaging/apparmor/cloche"},
			{user: true, run: "denied doctor", status: 1, says: "the AppArmor profile denied"},
			{user: true, run: "cat /proc/self/attr/current; cloche run --read /proc -- echo ran", says: "ran"},
		}),
	},
}
