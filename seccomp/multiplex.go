package seccomp

// Where x86, s390x and ppc64le have socketcall(2) and ipc(2), these are other
// doors to the calls of sockets and System V IPC. Their first argument is a
// number of such a call; its arguments lie behind a pointer, where no filter
// can look.

// socketCalls are what socketcall's first argument stands for, linux/net.h.
var socketCalls = [...]string{
	1: "socket", 2: "bind", 3: "connect", 4: "listen", 5: "accept", 6: "getsockname", 7: "getpeername", 8: "socketpair",
	9: "send", 10: "recv", 11: "sendto", 12: "recvfrom", 13: "shutdown", 14: "setsockopt", 15: "getsockopt",
	16: "sendmsg", 17: "recvmsg", 18: "accept4", 19: "recvmmsg", 20: "sendmmsg",
}

// ipcCalls are what the lower 16 bits of ipc's first argument stand for,
// linux/ipc.h; those above are the version of an interface.
var ipcCalls = [...]string{
	1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop",
	11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
	21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
}

// multiplexer is what a multiplexing call does with its first argument: which
// of its bits choose one of the calls.
func multiplexer(call string) (calls []string, bits uint32, ok bool) {
	switch call {
	case "socketcall":
		return socketCalls[:], 0xffffffff, true
	case "ipc":
		return ipcCalls[:], 0xffff, true
	}
	return nil, 0, false
}

// multiplexed is the call that a multiplexing call with this first argument makes.
func multiplexed(call string, first uint64) (name string, ok bool) {
	calls, bits, ok := multiplexer(call)
	if n := uint32(first) & bits; ok && n < uint32(len(calls)) && calls[n] != "" {
		return calls[n], true
	}
	return "", false
}

// blindRules are what follows for a multiplexing call from the rules about the
// calls behind it. Conditions can't be looked at there, so the answer is the one
// of those that could be right that the kernel would prefer.
func blindRules(p *Profile, a Arch, call string) []Rule {
	calls, bits, ok := multiplexer(call)
	if !ok {
		return nil
	}
	var rules []Rule
	for n, name := range calls {
		if decision, ok := decideBlind(*p, a, name); ok && name != "" {
			rules = append(rules, Rule{
				Action: decision.Action,
				Args:   []Arg{{Index: 0, Op: MaskedEqual, Mask: uint64(bits), Value: uint64(n), Low32: true}},
			})
		}
	}
	return rules
}
