package seccomp

import "golang.org/x/sys/unix"

// Reachable lists the calls of an architecture that a program lets the kernel make, for
// some of their arguments or all (Widening.Whole). It is exact: it is what Widenings
// lists beside a program that allows nothing. No program allows every call.
func Reachable(prog []unix.SockFilter, a Arch) ([]Widening, error) {
	var list []Widening
	if len(prog) == 0 {
		for nr, call := range a.Calls() {
			list = append(list, Widening{Arch: a, Call: call, Data: Data{NR: nr, Arch: a.Audit}, Before: KillProcess, After: Allow, Whole: true})
		}
		return list, nil
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS}}
	all, err := Widenings(nothing, prog)
	for _, w := range all {
		if w.Arch == a && w.Call != "" {
			list = append(list, w)
		}
	}
	return list, err
}
