package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// Bounds of the limits. The kernel rounds memory down to whole pages, so less
// than one page would be none.
const (
	minMemory    = 4096
	maxPids      = 1 << 22 // PID_MAX_LIMIT
	maxCPUWeight = 10000
	maxCPU       = 1<<16 - 1
)

// limited records a limit. One that is asked for must hold: an inherited
// permission to leave it out where it can't be had does not cover it.
func (p *Policy) limited(name, where string) {
	p.Limits.WhereAvailable = without(p.Limits.WhereAvailable, name)
	delete(p.Origins, "limits.where-available."+name)
	p.from("limits."+name, where)
}

// parseLimit reads a size of at least lowest, or "none" as 0.
func parseLimit(s string, lowest Size) (Size, error) {
	if s == "none" {
		return 0, nil
	}
	n, err := ParseSize(s)
	if err != nil {
		return 0, err
	}
	return n, checkLimit(n, lowest)
}

// checkLimit refuses sizes that limit everything away.
func checkLimit(n, lowest Size) error {
	switch {
	case n == 0:
		return errors.New(`zero leaves nothing: write a size such as "64M", or "none" for no limit`)
	case n < 0:
		return errors.New(`a size can't be negative: write one such as "64M"`)
	case n < lowest:
		return fmt.Errorf("%d bytes is less than the smallest that works, %d", n, lowest)
	case n > maxNumber:
		return errAbsurd
	}
	return nil
}

func setMemory(p *Policy, s, where string) (err error) {
	if p.Limits.Memory, err = parseLimit(s, minMemory); err == nil {
		p.limited("memory", where)
	}
	return err
}

func setSwap(p *Policy, s, where string) error {
	p.Limits.Swap = nil
	if s != "none" {
		n, err := ParseSize(s) // 0 is a limit here: no swap
		if err != nil {
			return err
		}
		p.Limits.Swap = &n
	}
	p.limited("swap", where)
	return nil
}

func setCPUs(p *Policy, s, where string) (err error) {
	p.Limits.CPUs = 0
	if s != "none" {
		if p.Limits.CPUs, err = ParseCPUs(s); err != nil {
			return err
		}
	}
	p.limited("cpus", where)
	return nil
}

func setCPUWeight(p *Policy, s, where string) (err error) {
	p.Limits.CPUWeight = 0
	if s != "none" {
		if p.Limits.CPUWeight, err = parseCount(s, 1, maxCPUWeight); err != nil {
			return err
		}
	}
	p.limited("cpu-weight", where)
	return nil
}

func setPids(p *Policy, s, where string) error {
	p.Limits.Pids = 0
	if s != "none" {
		n, err := parseCount(s, 1, maxPids)
		if err != nil {
			return fmt.Errorf(`%w, or "none" for no limit`, err)
		}
		p.Limits.Pids = int64(n)
	}
	p.limited("pids", where)
	return nil
}

func setCpuset(p *Policy, s, where string) error {
	p.Limits.Cpuset = ""
	if s != "none" {
		if err := checkCpuset(s); err != nil {
			return err
		}
		p.Limits.Cpuset = s
	}
	p.limited("cpuset", where)
	return nil
}

// checkCpuset holds s against the list format of cpuset(7).
func checkCpuset(s string) error {
	wrong := func() error {
		return fmt.Errorf(`%s is not a list of processors: write numbers and ranges such as "0-2,7"`, document.Clip(s))
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 32)
		b, errB := strconv.ParseUint(last, 10, 32)
		if !digits(first) || !digits(last) || errA != nil || errB != nil || a > b || b > maxCPU {
			return wrong()
		}
	}
	return nil
}

func setParent(p *Policy, s, where string) error {
	p.Limits.Parent = s
	p.from("limits.parent", where)
	return checkParent(s)
}

// checkParent refuses what depends on a working directory: a cgroup is a place of the machine.
func checkParent(s string) error {
	if err := checkPath(s); err != nil {
		return err
	}
	if s[0] != '/' {
		return fmt.Errorf("%s is not absolute: write the whole path of the cgroup's directory", document.Clip(s))
	}
	return nil
}

func whereAvailable(p *Policy, name, where string) (string, error) {
	if err := document.OneOf("limit", name, LimitNames()); err != nil {
		return "", err
	}
	if !slices.Contains(p.Limits.WhereAvailable, name) {
		p.Limits.WhereAvailable = append(p.Limits.WhereAvailable, name)
	}
	p.from("limits.where-available."+name, where)
	return name, nil
}

func setWallTime(p *Policy, s, where string) error {
	return p.setTime(&p.Time.Wall, "time.wall", s, where)
}

func setCPUTime(p *Policy, s, where string) error {
	return p.setTime(&p.Time.CPU, "time.cpu", s, where)
}

func (p *Policy) setTime(d *time.Duration, key, s, where string) (err error) {
	*d = 0
	if s != "none" {
		if *d, err = ParseDuration(s); err != nil {
			return err
		}
	}
	p.from(key, where)
	return nil
}

func setMaxOutput(p *Policy, s, where string) (err error) {
	if p.Output, err = parseLimit(s, 1); err == nil {
		p.from("max-output", where)
	}
	return err
}

// setRlimit reads "soft", "soft:hard", each a number, a size where the limit
// is one of bytes, or "unlimited".
func (p *Policy) setRlimit(name, text, where string) error {
	if err := document.OneOf("rlimit", name, RlimitNames()); err != nil {
		return err
	}
	soft, hard, two := strings.Cut(text, ":")
	if !two {
		hard = soft
	}
	var r Rlimit
	var err error
	if r.Soft, err = parseRlimit(name, soft); err != nil {
		return err
	}
	if r.Hard, err = parseRlimit(name, hard); err != nil {
		return err
	}
	if err := checkRlimit(r); err != nil {
		return err
	}
	if p.Rlimits == nil {
		p.Rlimits = make(map[string]Rlimit)
	}
	p.Rlimits[name] = r
	p.from("rlimits."+name, where)
	return nil
}

func checkRlimit(r Rlimit) error {
	if r.Soft > r.Hard {
		return fmt.Errorf("the soft limit %s is above the hard limit %s: swap them", formatRlimit(r.Soft), formatRlimit(r.Hard))
	}
	if (r.Soft > maxNumber && r.Soft != Unlimited) || (r.Hard > maxNumber && r.Hard != Unlimited) {
		return errAbsurd
	}
	return nil
}

func parseRlimit(name, s string) (uint64, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	switch name {
	case "as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack":
		n, err := ParseSize(s)
		return uint64(n), err
	}
	n, err := parseCount(s, 0, maxNumber)
	if err != nil {
		return 0, fmt.Errorf(`%w, or "unlimited"`, err)
	}
	return n, nil
}

func formatRlimit(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// addIO limits a device; of two entries for one the later holds.
func (p *Policy) addIO(l IOLimit, where string) error {
	if err := checkIO(l); err != nil {
		return err
	}
	p.Limits.IO = slices.DeleteFunc(p.Limits.IO, func(o IOLimit) bool { return o.Device == l.Device })
	p.Limits.IO = append(p.Limits.IO, l)
	p.limited("io", where)
	return nil
}

func checkIO(l IOLimit) error {
	if err := checkPath(l.Device); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if l.ReadBPS == 0 && l.WriteBPS == 0 && l.ReadIOPS == 0 && l.WriteIOPS == 0 {
		return fmt.Errorf(`no limit for %s: give rbps, wbps, riops or wiops`, document.Clip(l.Device))
	}
	for _, n := range [...]int64{int64(l.ReadBPS), int64(l.WriteBPS), l.ReadIOPS, l.WriteIOPS} {
		if n < 0 || n > maxNumber {
			return errAbsurd
		}
	}
	return nil
}

// setIO sets one of the four numbers of l, named as in io.max.
func (l *IOLimit) setIO(name, s string) (err error) {
	switch name {
	case "rbps":
		l.ReadBPS, err = parseLimit(s, 1)
	case "wbps":
		l.WriteBPS, err = parseLimit(s, 1)
	case "riops", "wiops":
		var n uint64
		if n, err = parseCount(s, 1, maxNumber); name == "riops" {
			l.ReadIOPS = int64(n)
		} else {
			l.WriteIOPS = int64(n)
		}
	default:
		err = document.OneOf("limit", name, []string{"rbps", "wbps", "riops", "wiops"})
	}
	return err
}
