package launcher

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Kernel answers the system calls of a simulated image.
type Kernel interface {
	// Syscall is one call of p: its result, or an errno below zero. It may read
	// and write p's memory, and end p, fork it or make it execute a program.
	Syscall(p *Process, c plan.Call, args [6]uint64) int64
}

// SimulateOptions is what a simulated image is started with.
type SimulateOptions struct {
	Args, Env []string
	Pid       int // of the first process; 0: 100
	MaxSteps  int // operations of all processes together; 0: a million. Copying much memory counts too
}

// Process is one process of a simulation: an own place in the table, and the
// memory of its own or its parent's.
type Process struct {
	Pid    int
	Parent *Process // nil: the one that the simulation began with
	Mem    *Memory

	// How it ended.
	Ended  bool
	Status int    // exit status
	Exec   string // path of the program that it executed instead of exiting
	Entry  uint64 // of the program that it went on with in the same process

	sim     *simulation
	pc      int
	failure error
	sibling bool // made with CLONE_PARENT: its parent does not wait for it
}

// simulation is what all processes have in common.
type simulation struct {
	*parsed
	kernel Kernel
	calls  []plan.Call // by operation
	steps  int
}

// SimulationError is an image going wrong in a way that no kernel reports as
// an errno: it faults, never ends, or uses what it gave back.
type SimulationError struct {
	Pid int
	Op  int // index in the image
	Err error
}

func (e *SimulationError) Error() string {
	return fmt.Sprintf("process %d, operation %d: %v", e.Pid, e.Op, e.Err)
}

func (e *SimulationError) Unwrap() error { return e.Err }

// ErrSteps ends a simulation that took more than MaxSteps operations.
var ErrSteps = errors.New("too many operations were carried out: it seems to loop for ever")

// The stack of a simulated process begins here, and grows upwards as far as
// arguments and environment need.
const simulatedStack = 0x7ffd00000000

// Simulate carries out the image elf from its bytes alone, as interpreter and
// kernel would, with k for the kernel. It returns the first process when that
// has ended. The error is a *SimulationError, or says why elf is no image.
func Simulate(elf []byte, k Kernel, o SimulateOptions) (*Process, error) {
	image, err := parse(elf)
	if err != nil {
		return nil, err
	}
	s := &simulation{parsed: image, kernel: k, calls: make([]plan.Call, len(image.ops)), steps: o.MaxSteps}
	if s.steps == 0 {
		s.steps = 1_000_000
	}
	byNumber := make(map[uint16]plan.Call)
	for i := range image.ops {
		if image.padding(i) {
			continue
		}
		n := image.ops[i].number
		c, ok := byNumber[n]
		if !ok {
			if c, ok = image.call(&image.ops[i]); !ok {
				return nil, &SimulationError{Op: i, Err: fmt.Errorf("system call number %d, which no plan uses", n)}
			}
			byNumber[n] = c
		}
		s.calls[i] = c
	}
	rw := make([]byte, image.rwSize)
	copy(rw, elf[:image.rwFile])
	stack := makeStack(o.Args, o.Env)
	p := &Process{Pid: o.Pid, Mem: &Memory{}, sim: s, pc: image.entry}
	if p.Pid == 0 {
		p.Pid = 100
	}
	p.Mem.add(BaseRO, elf, false)
	p.Mem.add(BaseRW, rw, true)
	p.Mem.add(simulatedStack, stack, true)
	argc := uint64(len(o.Args))
	p.setSlot(plan.VarArgc, argc)
	p.setSlot(plan.VarArgv, simulatedStack+8)
	p.setSlot(plan.VarEnvp, simulatedStack+8+8*(argc+1))
	return p, p.Run()
}

// makeStack is the stack as execve(2) leaves it, with an empty auxiliary vector.
func makeStack(args, env []string) []byte {
	head := 8 * (1 + len(args) + 1 + len(env) + 1 + 2)
	stack := make([]byte, head)
	binary.LittleEndian.PutUint64(stack, uint64(len(args)))
	at := 8
	for _, list := range [][]string{args, env} {
		for _, s := range list {
			binary.LittleEndian.PutUint64(stack[at:], simulatedStack+uint64(len(stack)))
			stack = append(append(stack, s...), 0)
			at += 8
		}
		at += 8
	}
	return stack
}

// Slot is the content of v, and 0 when the slots were unmapped.
func (p *Process) Slot(v plan.Var) uint64 {
	n, _ := p.Mem.load(SlotsAddress+8*uint64(v), 8)
	return n
}

func (p *Process) setSlot(v plan.Var, n uint64) { _ = p.Mem.store(SlotsAddress+8*uint64(v), n, 8) }

// Op is the index in the image of the operation that p carries out.
func (p *Process) Op() int { return p.pc }

// End makes p have exited with status.
func (p *Process) End(status int) { p.Ended, p.Status = true, status }

// Fail ends the whole simulation: for a Kernel that is asked for the impossible.
func (p *Process) Fail(err error) { p.failure = err }

// Fork is a child of p, in the middle of the same system call: its Return says
// what the child sees of it, and its Run carries it out.
func (p *Process) Fork(pid int, sharesMemory bool) *Process {
	c := &Process{Pid: pid, Parent: p, Mem: p.Mem, sim: p.sim, pc: p.pc}
	if !sharesMemory {
		c.Mem = p.Mem.clone()
		p.sim.steps -= len(p.sim.elf) / pageSize
	}
	return c
}

// Return ends p's system call with result, and goes on to the next operation.
func (p *Process) Return(result int64) {
	o := &p.sim.ops[p.pc]
	p.setSlot(plan.Var(o.dst), uint64(result))
	switch {
	case uint64(result) < uint64(1<<64-errnoLimit):
		p.pc = int(o.onOK)
	case uint64(o.errno) == uint64(-result):
		p.pc = int(o.onErrno)
	case o.onErr != opFatal:
		p.pc = int(o.onErr)
	default:
		p.setSlot(plan.VarFailedOp, uint64(p.pc))
		p.setSlot(plan.VarFailedErrno, uint64(-result))
		p.pc = int(min(p.Slot(plan.VarOnFatal), maxImage)) // Run looks whether it is an operation
	}
}

// Run carries p out until it has ended.
func (p *Process) Run() error {
	for !p.Ended {
		if err := p.step(); err != nil {
			var inner *SimulationError
			if errors.As(err, &inner) {
				return err
			}
			return &SimulationError{p.Pid, p.pc, err}
		}
	}
	return nil
}

func (p *Process) step() error {
	s := p.sim
	if s.steps--; s.steps < 0 {
		return ErrSteps
	}
	if p.pc >= len(s.ops) || s.padding(p.pc) {
		return errors.New("there is no such operation")
	}
	if p.Mem.unmapped(BaseRO + uint64(s.opsAt+p.pc*opSize)) {
		return errors.New("it was unmapped when set-up was over: it should be resident")
	}
	o, c := &s.ops[p.pc], s.calls[p.pc]
	args := o.args
	for i := range args {
		if o.slots&(1<<i) != 0 {
			v, err := p.Mem.load(SlotsAddress+8*args[i], 8)
			if err != nil {
				return err
			}
			args[i] = v
		} else if c != plan.SysMunmap && p.Mem.unmapped(args[i]) {
			return fmt.Errorf("%s uses %#x, which was unmapped when set-up was over: it should be resident data", c.Name(), args[i])
		}
	}
	if !c.IsPseudo() {
		result := s.kernel.Syscall(p, c, args)
		if p.failure != nil {
			return p.failure
		}
		if !p.Ended {
			p.Return(result)
		}
		return nil
	}
	if c == plan.Enter {
		p.Ended, p.Entry = true, args[0]
		return nil
	}
	result, sure, err := p.pseudo(c, args)
	switch {
	case err != nil:
		return err
	case sure: // a number, even one that looks like an error
		p.setSlot(plan.Var(o.dst), result)
		p.pc = int(o.onOK)
	default:
		p.Return(int64(result))
	}
	return nil
}
