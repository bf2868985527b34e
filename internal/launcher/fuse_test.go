package launcher

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

const (
	later plan.Label = 50 + iota
	latest
	earliest
)

// TestEnter: the interpreter's last pseudo-operation goes on at an address with
// the stack that the kernel made. The address here is the interpreter's own.
func TestEnter(t *testing.T) {
	seen := &plan.Data{Section: plan.SetupRW, Size: 8, Align: 8}
	program := func(address uint64) *Image {
		first := op(plan.Branch, plan.Slot(r), num(1), num(0), num(plan.CondEqual))
		first.OnErr = later // the second time
		again := exit(plan.Slot(plan.VarArgc))
		again.Mark = later
		return assembled(t, dump(
			op(plan.Load, plan.Ref(seen), num(8)), first, op(plan.Store, plan.Ref(seen), num(1), num(8)),
			plan.Op{Call: plan.Enter, Args: []plan.Arg{num(address)}}, again,
		))
	}
	im := program(0)
	im = program(BaseRO + uint64(im.textAt))
	c := imageCommand(writeImage(t, im.ELF), []string{"image", "one", "two"})
	if err := c.Run(); c.ProcessState == nil || c.ProcessState.ExitCode() != 3 {
		t.Errorf("%v, want exit status 3", err)
	}
}

// TestFuse puts an image in front of a real program, which it leaves to or ends.
func TestFuse(t *testing.T) {
	if os.Getenv(qemuVariable) != "" {
		needs.Elsewhere(t, "the emulator lies where the image would")
	}
	dir := t.TempDir()
	build := func(name, source string, flags ...string) []byte {
		file := filepath.Join(dir, name+".go")
		if err := os.WriteFile(file, []byte("package main\n\nimport \"os\"\n\nfunc main() { "+source+" }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		exe := filepath.Join(dir, name)
		build := exec.Command("go", append(append([]string{"build", "-o", exe}, flags...), file)...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		program, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		return program
	}
	program := build("program", "println(len(os.Args)); os.Exit(4)")
	x, err := ReadExecutable(program)
	if err != nil {
		t.Fatal(err)
	}
	beside := build("beside", "println(os.Args[1:] == nil, len(os.Environ()) > 0); os.Exit(6)", "-ldflags", fmt.Sprintf("-T %#x", BaseBeside+0x1000))
	second, err := ReadBeside(beside)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadBeside(program); err == nil || !strings.Contains(err.Error(), "-T 0x20011000") {
		t.Errorf("a program in the place of the first as the second: %v", err)
	}
	if _, err := ReadExecutable(beside); err == nil {
		t.Error("a program in the place of the second is taken for the first")
	}
	// With one argument it ends by itself, with two the program has its turn, with three the second one, with more it shows the second image.
	argv := []byte("the second image")
	most := op(plan.Branch, plan.Slot(plan.VarArgc), num(^uint64(0)), num(4), num(plan.CondGreater))
	most.OnErr = earliest
	say := op(plan.SysWrite, num(1), num(BaseArgv), num(uint64(len(argv))))
	leave := op(plan.Branch, plan.Slot(plan.VarArgc), num(^uint64(0)), num(2), num(plan.CondEqual))
	leave.Mark, leave.OnErr = earliest, later
	which := op(plan.Branch, plan.Slot(plan.VarArgc), num(^uint64(0)), num(3), num(plan.CondGreater))
	which.Mark, which.OnErr = later, latest
	enterBeside := plan.Op{Call: plan.Enter, Args: []plan.Arg{num(second.Entry)}}
	enter := plan.Op{Call: plan.Enter, Args: []plan.Arg{num(x.Entry)}, Mark: latest}
	im := assembled(t, dump(most, say, exit(num(7)), leave, exit(num(5)), which, enterBeside, enter))
	fused, err := Fuse(program, beside, argv, im.ELF)
	if err != nil {
		t.Fatal(err)
	}
	name := writeImage(t, fused)
	for args, want := range map[string]string{"one": "5 ", "one two": "4 3\n", "": "4 1\n", "one two three": "6 false true\n", "1 2 3 4": "7 the second image"} {
		c := exec.Command(name, strings.Fields(args)...)
		out, _ := c.CombinedOutput()
		if got := strings.TrimSpace(c.ProcessState.String()[len("exit status "):]) + " " + string(out); got != want {
			t.Errorf("with %q: %q, want %q", args, got, want)
		}
	}
	if l, err := Inspect(fused); err != nil || !strings.Contains(l.String(), "enter the program at") {
		t.Errorf("the listing of a program with a prelude: %v", err)
	}
	if _, err := Fuse(fused, nil, nil, im.ELF); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second prelude: %v", err)
	}
	for what, b := range map[string][]byte{"nothing": nil, "a text": []byte("#!/bin/sh\n"), "half a header": program[:60], "no headers": program[:64], "an image": im.ELF} {
		if _, err := ReadExecutable(b); err == nil {
			t.Errorf("%s is taken for a program", what)
		}
	}
}
