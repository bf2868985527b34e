package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// measures are taken in a child that loads a filter: the seccomp(2) call in µs, and
// ns for each of some calls that the filter judges by their arguments and that the
// kernel then has nothing to do for.
var measures = []string{"load, µs", "personality, ns", "socket, ns", "clone, ns", "ioctl, ns"}

// inTurns measures all rivals, A B C A B C, and returns the medians; of the calls, which
// take much less time than what may come between, the least.
func inTurns(list []rival, rounds int) ([][]float64, error) {
	samples := make([][][]float64, len(list))
	for i := range samples {
		samples[i] = make([][]float64, len(measures))
	}
	for range rounds {
		for i, r := range list {
			got, err := startChild(r.prog)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			for k, v := range got {
				samples[i][k] = append(samples[i][k], v)
			}
		}
	}
	medians := make([][]float64, len(list))
	for i := range samples {
		for k, s := range samples[i] {
			slices.Sort(s)
			at := 0
			if k == 0 {
				at = len(s) / 2
			}
			medians[i] = append(medians[i], s[at])
		}
	}
	return medians, nil
}

func startChild(prog []unix.SockFilter) ([]float64, error) {
	var b []byte
	for _, in := range prog {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.Jt, in.Jf)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	cmd := exec.Command("/proc/self/exe", "-child", hex.EncodeToString(b))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	got := make([]float64, len(measures))
	r := strings.NewReader(string(out))
	for i := range got {
		if _, err := fmt.Fscan(r, &got[i]); err != nil {
			return nil, fmt.Errorf("%q: %w", out, err)
		}
	}
	return got, nil
}

// inChild loads a filter on this thread, and measures.
func inChild(program string) error {
	b, err := hex.DecodeString(program)
	if err != nil {
		return err
	}
	var prog []unix.SockFilter
	for ; len(b) >= 8; b = b[8:] {
		prog = append(prog, unix.SockFilter{Code: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])})
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	began := time.Now()
	if err := seccomp.Load(prog, 0); err != nil {
		return err
	}
	fmt.Println(float64(time.Since(began).Nanoseconds()) / 1e3)
	const invalid = ^uintptr(0)
	for _, c := range [...][4]uintptr{
		{unix.SYS_PERSONALITY, 0xffffffff},
		{unix.SYS_SOCKET, unix.AF_INET, 0xff, 0},       // EINVAL: no such type
		{unix.SYS_CLONE, unix.CLONE_SIGHAND},           // EINVAL: without CLONE_VM
		{unix.SYS_IOCTL, invalid & 0x7fffffff, 0x5401}, // EBADF
	} {
		const calls = 20000
		best := time.Hour
		for range 5 {
			began := time.Now()
			for range calls {
				unix.RawSyscall(c[0], c[1], c[2], c[3])
			}
			best = min(best, time.Since(began))
		}
		fmt.Println(float64(best.Nanoseconds()) / calls)
	}
	return nil
}
