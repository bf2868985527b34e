package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// built is what all tests share.
var built struct {
	once sync.Once
	fixture
	err     error
	missing error // why it can't be made here
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// programs builds cloche once with a prelude and once without one, in a directory that a policy may show.
func programs(t *testing.T) *fixture {
	t.Helper()
	needs.Programs(t, "go", "python3")
	built.once.Do(buildPrograms)
	if built.missing != nil {
		needs.Skip(t, "no prelude can be made here: "+built.missing.Error())
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	return &built.fixture
}

func buildPrograms() {
	place := "/srv"
	if os.Geteuid() != 0 {
		if place, built.missing = os.UserHomeDir(); built.missing != nil {
			return
		}
	}
	if built.dir, built.missing = os.MkdirTemp(place, "cloche-prelude-"); built.missing != nil {
		return
	}
	built.plain, built.fused = filepath.Join(built.dir, "plain"), filepath.Join(built.dir, "cloche")
	bwrap := filepath.Join(built.dir, "bwrap.part")
	build := func(exe, of string, flags ...string) error {
		cmd := exec.Command("go", append(append([]string{"build", "-o", exe}, flags...), "github.com/cloche-sandbox/cloche/cmd/"+of)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if built.err = build(built.plain, "cloche"); built.err != nil {
		return
	}
	if built.err = build(bwrap, "bwrap", "-ldflags", fmt.Sprintf("-T %#x", launcher.BaseBeside+0x1000)); built.err != nil {
		return
	}
	program, err := os.ReadFile(built.plain)
	if err == nil {
		err = os.WriteFile(built.fused, program, 0o755)
	}
	if err == nil {
		err = os.Chmod(built.dir, 0o755)
	}
	if built.err = err; err == nil {
		built.missing = fuse(built.fused, bwrap)
	}
}
