package oci

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// explain has the failures that engines look for in words of theirs.
func (m *maker) explain(err error) error { return explainFailure(err, m.config.Process) }

func explainFailure(err error, p *specs.Process) error {
	var f *plan.Failure
	if !errors.As(err, &f) {
		return err
	}
	switch f.Step.Kind {
	case plan.KindExec:
		return execError(p.Args[0], f.Errno)
	case plan.KindCwd:
		return fmt.Errorf("chdir to cwd (%q) set in config.json failed: %w", p.Cwd, f.Errno)
	}
	return err
}

// execError is what becomes of a command that can't be executed: Docker tells 126
// and 127 by these words.
func execError(command string, errno syscall.Errno) error {
	switch {
	case errno == unix.ENOENT && !strings.Contains(command, "/"):
		return fmt.Errorf("exec: %q: executable file not found in $PATH", command)
	case errno == unix.ENOENT:
		return fmt.Errorf("exec: %q: stat %s: no such file or directory", command, command)
	}
	return fmt.Errorf("exec: %q: %w", command, errno)
}
