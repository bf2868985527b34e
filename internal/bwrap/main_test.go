package bwrap_test

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/cloche-sandbox/cloche/internal/bwrap/early" // the test binary, when it is called bwrap
)

var program struct {
	once sync.Once
	dir  string
	err  error
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
	if program.dir != "" {
		os.RemoveAll(program.dir)
	}
	os.Exit(code)
}
