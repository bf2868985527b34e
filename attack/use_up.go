package attack

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a command can use up is the machine's: processes, memory, time, descriptors,
// disk, the reader's patience. Each attempt stays small: the limit is made so low that
// an attempt which does no harm goes far beyond it.

var (
	pidsLimit   = &Layer{Name: "limit of processes", Off: []string{"pids none"}}
	nprocLimit  = &Layer{Name: "rlimit nproc", Off: []string{"rlimit nproc=1000"}}
	memoryLimit = &Layer{Name: "limit of memory", Off: []string{"memory none"}}
	cpuLimit    = &Layer{Name: "limit of CPU time", Off: []string{"cpu-time none"}}
	wallLimit   = &Layer{Name: "limit of time", Off: []string{"wall-time none"}}
	outputLimit = &Layer{Name: "limit of output", Off: []string{"max-output none"}}
	filesLimit  = &Layer{Name: "rlimit nofile", Off: []string{"rlimit nofile=1000"}}
	tmpfsSize   = &Layer{Name: "size of a tmpfs", Off: []string{"tmpfs /tmp:size=64M"}}
)

var withCgroup = onlyRoot("only who may make a cgroup can set this limit")

var forkBomb = Attack{
	Name: "fork-bomb", Group: "limits", Reference: "fork(2), cgroups(7) pids",
	Tries:  "start more processes than the limit",
	Limits: []string{"pids 40"},
	Stops:  []Stop{{pidsLimit, "EAGAIN"}},
	Needs:  withCgroup,
	Inside: func(*Inside) error { return multiply() },
}

var forkBombRlimit = Attack{
	Name: "fork-bomb-rlimit", Group: "limits", Reference: "getrlimit(2) RLIMIT_NPROC",
	Tries:  "start more processes than the resource limit",
	Limits: []string{"rlimit nproc=40"},
	Stops:  []Stop{{nprocLimit, "EAGAIN"}},
	Needs: func() string {
		if os.Geteuid() == 0 {
			return "the kernel holds no process of the host's root to this limit; the limit of processes does"
		}
		return ""
	},
	Inside: func(*Inside) error { return multiply() },
}

// multiply starts three times as many processes as the limits above let be, which do not
// listen to signals and outlive who started them.
func multiply() error {
	for range 45 { // of three processes each, in the end
		cmd := exec.Command("/bin/sh", "-c", "trap '' INT TERM HUP; sleep 20 & sleep 20")
		if err := cmd.Start(); err != nil {
			return Failed(err)
		}
	}
	return nil
}

// memoryBomb touches 192 MiB of memory of some kind, three times the limit.
func memoryBomb(name, reference, tries string, take func(size int) error) Attack {
	return Attack{
		Name: name, Group: "limits", Reference: reference, Tries: tries,
		Limits: []string{"memory 64M"},
		Stops:  []Stop{{memoryLimit, "SIGKILL"}},
		Needs:  withCgroup,
		Inside: func(*Inside) error {
			if err := take(192 << 20); err != nil {
				return Failed(err)
			}
			return nil
		},
	}
}

var (
	memoryAnonymous = memoryBomb("memory-anonymous", "mmap(2) MAP_ANONYMOUS", "use more memory than the limit", func(size int) error {
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		return err
	})
	memoryTmpfs = memoryBomb("memory-tmpfs", "tmpfs(5)", "use more memory than the limit, as files of /tmp", func(size int) error {
		f, err := os.CreateTemp("/tmp", "bomb")
		if err != nil {
			return err
		}
		defer f.Close()
		return fill(f, size)
	})
	memoryMemfd = memoryBomb("memory-memfd", "memfd_create(2)", "use more memory than the limit, as a file that has no name", func(size int) error {
		fd, err := unix.MemfdCreate("bomb", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "bomb")
		defer f.Close()
		return fill(f, size)
	})
)

func fill(f *os.File, size int) error {
	piece := make([]byte, 1<<20)
	for n := 0; n < size; n += len(piece) {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// ignoring has f run where no signal that can be ignored ends it.
func ignoring(f func()) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGALRM, syscall.SIGXCPU)
	f()
	return nil
}

var burnCPU = Attack{
	Name: "cpu-time", Group: "limits", Reference: "cgroups(7) cpuacct",
	Tries:  "compute for longer than the limit, ignoring every signal that can be ignored",
	Limits: []string{"cpu-time 200ms"},
	Stops:  []Stop{{cpuLimit, "SIGKILL"}},
	Needs:  withCgroup,
	Inside: func(*Inside) error {
		return ignoring(func() {
			for began := time.Now(); time.Since(began) < 2*time.Second; { // of processor time, as nothing here waits
			}
		})
	},
}

var stayLonger = Attack{
	Name: "wall-time", Group: "limits", Reference: "setitimer(2)",
	Tries:  "sleep for longer than the limit, ignoring every signal that can be ignored",
	Limits: []string{"wall-time 300ms"},
	Stops:  []Stop{{wallLimit, "SIGKILL"}},
	Inside: func(*Inside) error { return ignoring(func() { time.Sleep(1500 * time.Millisecond) }) },
}

// A process that stops itself counts no CPU time; the clock on the wall goes on.
var stopped = Attack{
	Name: "stopped-past-the-limit", Group: "limits", Reference: "signal(7) SIGSTOP",
	Tries:  "stop, and be there when the time is over",
	Limits: []string{"wall-time 300ms"},
	Stops:  []Stop{{wallLimit, "SIGKILL"}},
	Inside: func(*Inside) error {
		resume := exec.Command("/bin/sh", "-c", "sleep 1; kill -CONT $PPID")
		if err := resume.Start(); err != nil {
			return Failed(err)
		}
		began := time.Now()
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
		time.Sleep(900*time.Millisecond - time.Since(began)) // kill(2) may return before this thread stops
		return nil
	},
}

var muchOutput = Attack{
	Name: "output", Group: "limits", Reference: "pipe(7)",
	Tries:  "write more than the limit to stderr",
	Limits: []string{"max-output 256K"},
	Stops:  []Stop{{outputLimit, "SIGKILL"}},
	Inside: func(*Inside) error {
		if err := fill(os.Stderr, 16<<20); err != nil {
			return Failed(err)
		}
		return nil
	},
}

var manyFiles = Attack{
	Name: "descriptors", Group: "limits", Reference: "getrlimit(2) RLIMIT_NOFILE",
	Tries:  "open more files than the limit",
	Limits: []string{"rlimit nofile=64"},
	Stops:  []Stop{{filesLimit, "EMFILE"}},
	Inside: func(*Inside) error {
		for range 200 {
			if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
				return Failed(err)
			}
		}
		return nil
	},
}

var fullDisk = Attack{
	Name: "full-tmp", Group: "limits", Reference: "tmpfs(5) size=",
	Tries:  "write more to /tmp than it has room for",
	Limits: []string{"tmpfs /tmp:size=1M"},
	Stops:  []Stop{{tmpfsSize, "ENOSPC"}},
	Inside: func(*Inside) error {
		f, err := os.CreateTemp("/tmp", "full")
		if err != nil {
			return Failed(err)
		}
		defer f.Close()
		if err := fill(f, 8<<20); err != nil {
			return Failed(err)
		}
		return nil
	},
}
