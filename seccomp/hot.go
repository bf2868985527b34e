package seccomp

import (
	"cmp"
	"slices"
)

// hotness is how often a call is made, compared with others, by programs that
// start, compile, serve and compute.
func hotness(call string) int {
	switch call {
	case "read", "write", "futex":
		return 400
	case "mmap", "openat", "close", "newfstatat", "fstat":
		return 200
	case "fcntl", "ioctl", "mprotect", "lseek", "open", "stat":
		return 60
	case "socket", "clone", "clone3", "prctl", "madvise", "connect", "sendto", "recvfrom":
		return 20
	case "execve", "unshare", "socketpair", "personality", "seccomp", "kill", "setsockopt", "getsockopt", "statx", "faccessat2":
		return 4
	}
	return 0
}

// asked reports whether the kernel may ask the filter often what it says of a
// call. What is always allowed the kernel answers from a bitmap (Linux 5.11);
// what is refused few programs try again, but libc begins each thread and
// process with clone3.
func (s *step) asked(call string) bool {
	switch {
	case !s.final():
		return true
	case s.answer == Allow:
		return false
	}
	return call == "clone3" || Errno(0).stricter(s.answer)
}

// hotCall is a number that is tested before all others.
type hotCall struct {
	nr     int32
	to     *step
	weight int
}

// searchDepth is about how many tests find a number among those of a profile.
const searchDepth = 6

// worthwhile are the calls of a list that are tested first, in their order. Each
// saves itself the search, and costs all that follow one test.
func worthwhile(list []hotCall) []hotCall {
	slices.SortStableFunc(list, func(a, b hotCall) int { return cmp.Compare(b.weight, a.weight) })
	behind := 1
	for i := range list {
		behind += list[i].weight
	}
	for i := range list {
		behind -= list[i].weight
		if list[i].weight*(searchDepth-1) <= behind {
			return list[:i]
		}
	}
	return list
}
