package plan

import (
	"sort"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// rlimits sets the command's resource limits, getrlimit(2). They are set in the
// command alone: pid 1 has none that could keep it from reaping.
func (b *builder) rlimits() {
	names := make([]string, 0, len(b.policy.Rlimits))
	for n := range b.policy.Rlimits {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		l := b.policy.Rlimits[n]
		b.begin(Step{Process: Command, Name: "rlimit " + n, Kind: KindRlimit, Origin: b.policy.Origins["rlimits."+n]})
		text := "{rlim_cur=" + limitText(l.Soft) + ", rlim_max=" + limitText(l.Hard) + "}"
		b.op(SysPrlimit64, Num(0), rlimitResource(n), Ref(words(text, l.Soft, l.Hard)), null)
	}
}

func limitText(n uint64) string {
	if n == policy.Unlimited {
		return "RLIM64_INFINITY"
	}
	return strconv.FormatUint(n, 10)
}

func rlimitResource(name string) Arg {
	switch name {
	case "as":
		return named("RLIMIT_AS", unix.RLIMIT_AS)
	case "core":
		return named("RLIMIT_CORE", unix.RLIMIT_CORE)
	case "cpu":
		return named("RLIMIT_CPU", unix.RLIMIT_CPU)
	case "data":
		return named("RLIMIT_DATA", unix.RLIMIT_DATA)
	case "fsize":
		return named("RLIMIT_FSIZE", unix.RLIMIT_FSIZE)
	case "locks":
		return named("RLIMIT_LOCKS", unix.RLIMIT_LOCKS)
	case "memlock":
		return named("RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK)
	case "msgqueue":
		return named("RLIMIT_MSGQUEUE", unix.RLIMIT_MSGQUEUE)
	case "nice":
		return named("RLIMIT_NICE", unix.RLIMIT_NICE)
	case "nofile":
		return named("RLIMIT_NOFILE", unix.RLIMIT_NOFILE)
	case "nproc":
		return named("RLIMIT_NPROC", unix.RLIMIT_NPROC)
	case "rss":
		return named("RLIMIT_RSS", unix.RLIMIT_RSS)
	case "rtprio":
		return named("RLIMIT_RTPRIO", unix.RLIMIT_RTPRIO)
	case "rttime":
		return named("RLIMIT_RTTIME", unix.RLIMIT_RTTIME)
	case "sigpending":
		return named("RLIMIT_SIGPENDING", unix.RLIMIT_SIGPENDING)
	default: // policy.Validate lets no other pass
		return named("RLIMIT_STACK", unix.RLIMIT_STACK)
	}
}
