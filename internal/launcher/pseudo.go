package launcher

import (
	"strconv"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Results of pseudo-operations that failed, as the interpreters give them.
const (
	minusEPERM        = ^uint64(0)
	minusENAMETOOLONG = ^uint64(35)
)

// pseudo carries out one pseudo-operation. sure tells that the result is a
// number that can't be an error. Conditions, sizes and stop bytes are looked at
// as 32-bit numbers, as both interpreters do.
func (p *Process) pseudo(c plan.Call, a [6]uint64) (result uint64, sure bool, err error) {
	truth := func(ok bool) (uint64, bool, error) {
		if ok {
			return 0, false, nil
		}
		return minusEPERM, false, nil
	}
	m := p.Mem
	switch c {
	case plan.Branch:
		switch x := a[0] & a[1]; {
		case uint32(a[3]) == plan.CondEqual:
			return truth(x == a[2])
		case uint32(a[3]) == plan.CondLess:
			return truth(x < a[2])
		default:
			return truth(x > a[2])
		}
	case plan.Alu:
		return a[0]>>(a[1]&63)&a[2]<<(a[3]&63) + a[4], true, nil
	case plan.Load:
		result, err = m.load(a[0], a[1])
		return result, true, err
	case plan.Store:
		return 0, true, m.store(a[0], a[1], a[2])
	case plan.Copy:
		return p.copy(a[0], a[1], uint32(a[2]), a[3])
	case plan.Format:
		digits := strconv.FormatUint(a[1], 10)
		return uint64(len(digits)), true, m.Write(a[0], append([]byte(digits), 0))
	case plan.Compare:
		for i := range a[2] {
			if p.spend(i) {
				return 0, false, ErrSteps
			}
			x, err := m.load(a[0]+i, 1)
			if err != nil {
				return 0, false, err
			}
			y, err := m.load(a[1]+i, 1)
			if err != nil || x != y {
				return minusEPERM, false, err
			}
		}
		return truth(true)
	default: // Parse
		for i := uint64(0); ; i++ {
			if p.spend(i) {
				return 0, false, ErrSteps
			}
			x, err := m.load(a[0]+i, 1)
			if err != nil || x < '0' || x > '9' {
				return result, true, err
			}
			result = result*10 + x - '0'
		}
	}
}

func (p *Process) copy(dst, src uint64, stop uint32, most uint64) (uint64, bool, error) {
	for i := uint64(0); ; i++ {
		if p.spend(i) {
			return 0, false, ErrSteps
		}
		x, err := p.Mem.load(src+i, 1)
		if err != nil || x == 0 || uint32(x) == stop {
			return i, true, err
		}
		if i >= most {
			return minusENAMETOOLONG, false, nil
		}
		if dst != 0 {
			if err := p.Mem.store(dst+i, x, 1); err != nil {
				return 0, false, err
			}
		}
	}
}

// spend counts the work on the i-th byte: 256 of them are a step. It reports
// whether all steps are used up.
func (p *Process) spend(i uint64) bool {
	if i%256 == 255 {
		p.sim.steps--
	}
	return p.sim.steps < 0
}
