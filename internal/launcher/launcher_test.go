package launcher

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// run assembles ops, executes the image as a program of its own and returns
// what it wrote to stdout and its exit status.
func run(t *testing.T, ops []plan.Op, args ...string) (string, int) {
	t.Helper()
	im, err := Assemble(Program{GOARCH: runtime.GOARCH, Ops: ops, OnFatal: fatal, Vars: 20})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, im.ELF, 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := &exec.Cmd{Path: file, Args: args, Stdout: &out, Stderr: os.Stderr, Env: []string{"PATH=/bin:/usr/bin"}}
	_ = c.Run()
	return out.String(), c.ProcessState.ExitCode()
}

const fatal plan.Label = 1

func TestHello(t *testing.T) {
	hello := &plan.Data{Bytes: []byte("hello\n")}
	out, code := run(t, []plan.Op{
		{Call: plan.SysWrite, Args: []plan.Arg{plan.Num(1), plan.Ref(hello), plan.Num(6)}, Dst: 10},
		{Call: plan.SysExitGroup, Args: []plan.Arg{plan.Slot(10)}},
		{Call: plan.SysExitGroup, Args: []plan.Arg{plan.Slot(plan.VarFailedErrno)}, Mark: fatal},
	})
	if out != "hello\n" || code != 6 {
		t.Errorf("got %q, %d", out, code)
	}
}
