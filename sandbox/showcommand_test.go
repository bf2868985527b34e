package sandbox_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// TestShowCommand: the judge profile shows a program that was just compiled, and
// nothing else of the directory that it is in. An ordinary user may have no
// cgroup here, so the profile without its limits is tried too.
func TestShowCommand(t *testing.T) {
	needs.Programs(t, "gcc")
	dir := t.TempDir()
	source := `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
	int a, b;
	if (scanf("%d %d", &a, &b) != 2) return 2;
	if (access("` + dir + `/answers", F_OK) == 0) return 3;
	printf("%d %s\n", a + b, argv[1]);
	return argv[0][0] == '/' ? 0 : 4;
}
`
	for name, text := range map[string]string{"sum.c": source, "answers": "42\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gcc := exec.Command("gcc", "-o", "sum", "sum.c")
	gcc.Dir = dir
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	run := func(t *testing.T, p *policy.Policy, name string) {
		var out, complaint bytes.Buffer
		c := sandbox.Command(context.Background(), p, name, "done")
		c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, strings.NewReader("40 2\n"), &out, &complaint
		err := c.Run()
		if err != nil && strings.Contains(err.Error(), "cgroup") {
			needs.Root(t, "an ordinary user may make no cgroup here: "+err.Error())
		}
		if err != nil || out.String() != "42 done\n" {
			t.Errorf("%q, %v\n%s", out.String(), err, complaint.String())
		}
		if c.Args[0] != name || len(p.Mounts) != len(judge(t).Mounts) {
			t.Errorf("the caller's command or policy was changed: %q, %v", c.Args, p.Mounts)
		}
	}
	free := judge(t)
	free.Limits, free.Time = policy.Limits{}, policy.TimeLimits{}
	for how, name := range map[string]string{"relative": "./sum", "absolute": filepath.Join(dir, "sum")} {
		t.Run("judge "+how, func(t *testing.T) { run(t, judge(t), name) })
		t.Run("without limits "+how, func(t *testing.T) { run(t, free, name) })
	}

	free.ShowCommand = false
	c := sandbox.Command(context.Background(), free, filepath.Join(dir, "sum"))
	if err := c.Run(); err == nil || !strings.Contains(err.Error(), "ENOENT") {
		t.Errorf("%v, want ENOENT of a policy that does not show the command", err)
	}
}

func judge(t *testing.T) *policy.Policy {
	t.Helper()
	p, ok := policy.Builtin("judge")
	if !ok {
		t.Fatal("no judge profile")
	}
	return p
}
