package launcher

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

const later plan.Label = 50

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
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nimport \"os\"\n\nfunc main() { println(len(os.Args)); os.Exit(4) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "program")
	build := exec.Command("go", "build", "-o", exe, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ReadExecutable(program)
	if err != nil {
		t.Fatal(err)
	}
	// With one argument it ends by itself, else the program has its turn.
	leave := op(plan.Branch, plan.Slot(plan.VarArgc), num(^uint64(0)), num(2), num(plan.CondEqual))
	leave.OnErr = later
	enter := plan.Op{Call: plan.Enter, Args: []plan.Arg{num(x.Entry)}, Mark: later}
	im := assembled(t, dump(leave, exit(num(5)), enter))
	fused, err := Fuse(program, im.ELF)
	if err != nil {
		t.Fatal(err)
	}
	name := writeImage(t, fused)
	for args, want := range map[string]string{"one": "5 ", "one two": "4 3\n", "": "4 1\n"} {
		c := exec.Command(name, strings.Fields(args)...)
		out, _ := c.CombinedOutput()
		if got := strings.TrimSpace(c.ProcessState.String()[len("exit status "):]) + " " + string(out); got != want {
			t.Errorf("with %q: %q, want %q", args, got, want)
		}
	}
	if l, err := Inspect(fused); err != nil || !strings.Contains(l.String(), "enter the program at") {
		t.Errorf("the listing of a program with a prelude: %v", err)
	}
	if _, err := Fuse(fused, im.ELF); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second prelude: %v", err)
	}
	for what, b := range map[string][]byte{"nothing": nil, "a text": []byte("#!/bin/sh\n"), "half a header": program[:60], "no headers": program[:64], "an image": im.ELF} {
		if _, err := ReadExecutable(b); err == nil {
			t.Errorf("%s is taken for a program", what)
		}
	}
}
