package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

// build is `cloche build`. What the executable goes without is said when it is
// made: where it runs nobody asks for its plan.
func build(inv *invocation) error {
	switch {
	case inv.output == "":
		return errors.New("build: no output; name the executable to write: cloche build -o FILE -- CMD [ARGS]")
	case len(inv.args) == 0 || inv.args[0] == "":
		return errors.New("build: no command; write it after the flags: cloche build -o FILE -- CMD [ARGS]")
	}
	p, err := inv.policy()
	if err != nil {
		return err
	}
	inv.args = showCommand(p, inv.args)
	if p, err = expandAnywhere(p); err != nil {
		return err
	}
	if err := plan.NeedsSupervisor(p); err != nil {
		return err
	}
	made, err := supervise.PlanBuild(&supervise.Spec{Policy: p, Args: inv.args})
	if err != nil {
		return err
	}
	elf, err := supervise.Executable(made)
	if err != nil {
		return err
	}
	if err := writeExecutable(inv, elf); err != nil {
		return err
	}
	for _, n := range made.Notes {
		complain("note: " + n)
	}
	return nil
}

func writeExecutable(inv *invocation, elf []byte) error {
	bad := func(why string) error { return fmt.Errorf("-o %s: %s", clip(inv.output), why) }
	name := inv.output
	if info, err := os.Stat(name); err == nil {
		switch {
		case info.IsDir():
			return bad("it is a directory; name a file")
		case !info.Mode().IsRegular():
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				return bad(whyUnwritable(err))
			}
			defer f.Close()
			if _, err := f.Write(elf); err != nil {
				return bad(whyUnwritable(err))
			}
			return nil
		}
		// The file that a link leads to is replaced, not the link.
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return bad(whyUnwritable(err))
		}
	}
	if err := writeWhole(name, elf, 0o777); err != nil {
		return bad(whyUnwritable(err))
	}
	return nil
}
