package bwrap_test

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/bwrap"
	_ "github.com/cloche-sandbox/cloche/internal/bwrap/early" // the test binary, when it is called bwrap
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

var program, fusedProgram struct {
	once    sync.Once
	dir     string
	err     error
	missing error // why there can be none here
}

// ours is the path of a bwrap that is this test binary, where any user may execute it.
func ours(t testing.TB) string {
	t.Helper()
	program.once.Do(func() {
		if program.dir, program.err = os.MkdirTemp("", "cloche-bwrap-"); program.err != nil {
			return
		}
		program.err = copyProgram(filepath.Join(program.dir, "bwrap"))
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return filepath.Join(program.dir, "bwrap")
}

// fused is the path of the same with the images in front that `make build` puts there.
func fused(t testing.TB) string {
	t.Helper()
	f := &fusedProgram
	f.once.Do(func() {
		var file []byte
		if file, f.err = os.ReadFile("/proc/self/exe"); f.err != nil {
			return
		}
		file, err := supervise.WithPrelude(file, nil, bwrap.Argv())
		if f.missing = err; err != nil {
			return
		}
		f.dir, err = os.MkdirTemp("", "cloche-bwrap-")
		if err == nil {
			err = os.Chmod(f.dir, 0o755)
		}
		if f.err = err; err == nil {
			f.err = os.WriteFile(filepath.Join(f.dir, "bwrap"), file, 0o755)
		}
	})
	if f.missing != nil {
		needs.Skip(t, "no prelude can be made here: "+f.missing.Error())
	}
	if f.err != nil {
		t.Fatal(f.err)
	}
	return filepath.Join(f.dir, "bwrap")
}

func copyProgram(to string) error {
	if err := os.Chmod(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(f, from); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range []string{program.dir, fusedProgram.dir} {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}
