package inspect

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Snapshot is which processes of pid namespaces other than the caller's there were at a moment.
type Snapshot struct {
	members map[uint64][]int // by the number of the pid namespace
	ns      map[int]uint64
}

// Sum is what some processes use together.
type Sum struct {
	Processes int64
	Threads   int64
	CPU       time.Duration // with children that were waited for
	Memory    int64         // bytes that are theirs alone
}

// Snap looks over /proc once.
func Snap() (*Snapshot, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	own := nsOf("/proc/self/ns/pid")
	s := &Snapshot{members: map[uint64][]int{}, ns: map[int]uint64{}}
	var buf [64]byte
	dir := int(proc.Fd())
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		n, err := unix.Readlinkat(dir, name+"/ns/pid", buf[:])
		if err != nil {
			continue // it has ended, or is another user's, or not dumpable
		}
		number := nsNumber(string(buf[:n]))
		if pid, err := strconv.Atoi(name); err == nil && number != own {
			s.members[number] = append(s.members[number], pid)
			s.ns[pid] = number
		}
	}
	return s, nil
}

// Sum adds up the processes in the pid namespace of pid, and those of also that are not among
// them. Where pid shares the caller's namespace, it is what lives below pid.
func (s *Snapshot) Sum(pid int, also ...int) (sum Sum) {
	pids, apart := s.members[s.ns[pid]], s.ns[pid] != 0
	if !apart {
		pids = below(pid)
	}
	for _, p := range pids {
		sum.add(p)
	}
	for _, p := range also {
		if p != 0 && p != pid && (apart && s.ns[p] != s.ns[pid] || !apart) {
			sum.add(p)
		}
	}
	return sum
}

// below is a process and what it and its children made.
func below(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, Children(all[i])...)
	}
	return all
}

// add reads one process; one that has ended counts as nothing.
func (sum *Sum) add(pid int) {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	stat, err := readSmall(dir + "stat")
	if err != nil {
		return
	}
	sum.Processes++
	sum.Threads += int64(statField(stat, 20))
	for field := 14; field <= 17; field++ {
		sum.CPU += time.Duration(statField(stat, field)) * tick
	}
	if statm, err := readSmall(dir + "statm"); err == nil {
		sum.Memory += private(statm)
	}
}

// private is the memory, in bytes, that is a process's alone, from its statm.
func private(statm string) int64 {
	f := strings.Fields(statm)
	if len(f) < 3 {
		return 0
	}
	resident, _ := strconv.ParseInt(f[1], 10, 64)
	shared, _ := strconv.ParseInt(f[2], 10, 64)
	return (resident - shared) * int64(os.Getpagesize())
}

// readSmall reads a file of /proc with as few calls as can be.
func readSmall(name string) (string, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [4096]byte
	n, err := unix.Read(fd, buf[:])
	if n < len(buf) { // they give all they have at once
		return string(buf[:max(0, n)]), err
	}
	text := append([]byte{}, buf[:]...)
	for n > 0 && err == nil {
		n, err = unix.Read(fd, buf[:])
		text = append(text, buf[:max(0, n)]...)
	}
	return string(text), err
}
