package launcher

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

const fatal plan.Label = 1

// qemuVariable names the emulator with which a test binary for another
// architecture executes its images, see TestArm64.
const qemuVariable = "CLOCHE_TEST_QEMU"

var testEnv = []string{"PATH=/bin:/usr/bin", "N=4711"}

// outcome is all that an image shows of itself. argv and envp differ between
// runs and are left out of the slots.
type outcome struct {
	stdout string
	slots  string // "": it did not write them
	exit   int
}

// dump ends a program by writing all slots to fd 2 and exiting with 0.
func dump(ops ...plan.Op) []plan.Op {
	return append(ops,
		plan.Op{Call: plan.SysWrite, Args: []plan.Arg{plan.Num(2), plan.Num(SlotsAddress), plan.Num(8 * plan.MaxVars)}},
		plan.Op{Call: plan.SysExitGroup, Args: []plan.Arg{plan.Num(0)}},
		// A fatal error ends with 100, and the slots tell which.
		plan.Op{Call: plan.SysWrite, Args: []plan.Arg{plan.Num(2), plan.Num(SlotsAddress), plan.Num(8 * plan.MaxVars)}, Mark: fatal, Resident: true},
		plan.Op{Call: plan.SysExitGroup, Args: []plan.Arg{plan.Num(100)}, Resident: true},
	)
}

// maskSlots removes what differs from run to run: the stack's address.
func maskSlots(b []byte) string {
	if len(b) != 8*plan.MaxVars {
		return string(b)
	}
	b = slices.Clone(b)
	clear(b[8*plan.VarArgv : 8*plan.VarEnvp+8])
	return string(b)
}

func slotOf(o outcome, v plan.Var) uint64 {
	if len(o.slots) < 8*plan.MaxVars {
		return 0xdead
	}
	return binary.LittleEndian.Uint64([]byte(o.slots[8*int(v):]))
}

func assembled(t testing.TB, ops []plan.Op) *Image {
	t.Helper()
	im, err := Assemble(Program{GOARCH: runtime.GOARCH, Ops: ops, OnFatal: fatal, Vars: plan.MaxVars})
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// writeImage makes an executable file. Closing it before a fork elsewhere in
// this program is what ETXTBSY is about: syscall.ForkLock keeps forks away.
func writeImage(t testing.TB, elf []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	syscall.ForkLock.RLock()
	err := os.WriteFile(file, elf, 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func imageCommand(file string, args []string) *exec.Cmd {
	if qemu := os.Getenv(qemuVariable); qemu != "" {
		q := []string{qemu, "-0", "", file}
		if len(args) > 0 {
			q = append([]string{qemu, "-0", args[0], file}, args[1:]...)
		}
		return &exec.Cmd{Path: qemu, Args: q, Env: []string{testEnv[1], testEnv[0]}} // it turns the order round
	}
	return &exec.Cmd{Path: file, Args: args, Env: testEnv}
}

// really executes the image as a process.
func really(t testing.TB, im *Image, args ...string) outcome {
	t.Helper()
	var out, slots bytes.Buffer
	c := imageCommand(writeImage(t, im.ELF), args)
	c.Stdout, c.Stderr = &out, &slots
	// One that loops for ever is ended, and differs by that from its simulation.
	watchdog := time.AfterFunc(10*time.Second, func() {
		if c.Process != nil {
			_ = c.Process.Kill()
		}
	})
	defer watchdog.Stop()
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	exit := c.ProcessState.ExitCode()
	if w := c.ProcessState.Sys().(syscall.WaitStatus); w.Signaled() {
		exit = 128 + int(w.Signal())
	}
	return outcome{out.String(), maskSlots(slots.Bytes()), exit}
}

// simulated lets the simulator carry it out.
func simulated(t testing.TB, im *Image, steps int, args ...string) (outcome, error) {
	t.Helper()
	k := &FakeKernel{Answer: func(_ *Process, c plan.Call, a [6]uint64) (int64, bool) {
		switch {
		case c == plan.SysClose && int32(a[0]) >= 100:
			return -int64(syscall.EBADF), true
		case c == plan.SysGetuid:
			return int64(os.Getuid()), true
		}
		return 0, false
	}}
	p, err := Simulate(im.ELF, k, SimulateOptions{Args: args, Env: testEnv, MaxSteps: steps})
	if err != nil {
		return outcome{}, err
	}
	return outcome{string(k.Written(1)), maskSlots(k.Written(2)), p.Status}, nil
}

// both runs ops in both ways, demands the same outcome, and returns it.
func both(t *testing.T, ops []plan.Op, args ...string) outcome {
	t.Helper()
	if len(args) == 0 {
		args = []string{"image"} // the kernel makes an empty argv[0] when there is none
	}
	im := assembled(t, ops)
	sim, err := simulated(t, im, 100_000, args...)
	if err != nil {
		t.Fatal(err)
	}
	got := really(t, im, args...)
	if got != sim {
		t.Errorf("executed and simulated differ:\n%q %d\n%q %d\nslots equal: %v", got.stdout, got.exit, sim.stdout, sim.exit, got.slots == sim.slots)
		for v := range plan.Var(plan.MaxVars) {
			if a, b := slotOf(got, v), slotOf(sim, v); a != b {
				t.Errorf("slot %d: executed %#x, simulated %#x", v, a, b)
			}
		}
	}
	return got
}

func TestHello(t *testing.T) {
	hello := &plan.Data{Bytes: []byte("hello\n")}
	o := both(t, dump(plan.Op{Call: plan.SysWrite, Args: []plan.Arg{plan.Num(1), plan.Ref(hello), plan.Num(6)}, Dst: 10}))
	if o.stdout != "hello\n" || o.exit != 0 || slotOf(o, 10) != 6 {
		t.Errorf("got %q, %d", o.stdout, o.exit)
	}
}

// TestArm64 lets a test binary for arm64 run the tests of this package, and an
// emulator execute the images.
func TestArm64(t *testing.T) {
	needs.Arch(t, "arm64 needs no emulator", "amd64")
	needs.Long(t, "it compiles and emulates")
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		needs.Skip(t, "qemu-aarch64-static, of Debian's qemu-user-static, is not installed")
	}
	file := filepath.Join(t.TempDir(), "arm64.test")
	build := exec.Command("go", "test", "-c", "-o", file, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(qemu, file, "-test.short", "-test.v")
	c.Env = append(os.Environ(), qemuVariable+"="+qemu)
	out, err := c.CombinedOutput()
	if err != nil {
		var wrong strings.Builder
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "=== RUN") && !strings.Contains(line, "--- PASS") {
				wrong.WriteString(line)
			}
		}
		t.Fatalf("%v\n%s", err, wrong.String())
	}
	if !strings.Contains(string(out), "--- PASS: TestHello") {
		t.Errorf("it seems to have tested nothing:\n%s", out)
	}
}
