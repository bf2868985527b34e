package checks

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pure are the packages that decide and do nothing: no system call, no clock, no
// output. The files named may: they are what the rest of their package is for.
var pure = map[string][]string{
	"policy":            nil,
	"internal/learn":    nil,
	"internal/plan":     nil,
	"internal/launcher": nil,
	"seccomp":           {"load.go", "load_unsafe.go", "notify.go", "notify_memory.go", "notify_unsafe.go"},
}

// impure are packages that a pure one has no use for.
var impure = []string{"os", "os/exec", "os/signal", "os/user", "net", "path/filepath", "math/rand", "math/rand/v2", "log", "plugin"}

func TestPurePackagesImports(t *testing.T) {
	for _, f := range source(t) {
		but, ok := pure[f.dir]
		if !ok || f.test || slices.Contains(but, filepath.Base(f.name)) {
			continue
		}
		for _, path := range f.imports {
			if slices.Contains(impure, path) {
				t.Errorf("%s imports %s: package %s is pure; find it out in internal/host or do it in internal/supervise", f.name, path, f.dir)
			}
		}
	}
}

// harmless are the functions that a pure package may use of packages whose other
// functions act.
var harmless = []string{
	"golang.org/x/sys/unix.ErrnoName",
	"golang.org/x/sys/unix.SignalName",
	"(syscall.Errno).Error",
}

// acts reports whether a function of another package does more than compute.
func acts(f *types.Func) bool {
	switch f.Pkg().Path() {
	case "golang.org/x/sys/unix", "syscall", "os", module + "/internal/host":
		return !slices.Contains(harmless, f.FullName())
	case "time":
		switch f.Name() {
		case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "LoadLocation":
			return true
		}
	case "fmt":
		return strings.HasPrefix(f.Name(), "Print") || strings.HasPrefix(f.Name(), "Scan")
	}
	return false
}

// TestPurePackagesUse looks at every function, method and variable that they
// name: of golang.org/x/sys/unix, syscall and internal/host they may use constants
// and types.
func TestPurePackagesUse(t *testing.T) {
	files := source(t) // also so that a cached result knows what it depends on
	dirs := make([]string, 0, len(pure))
	for dir := range pure {
		dirs = append(dirs, "./"+dir)
	}
	exports := exportData(t, dirs...)
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("go list gave no export data for %s", path)
		}
		return os.Open(exports[path])
	})
	for dir, but := range pure {
		names := packageFiles(t, dir)
		var trees []*ast.File
		for _, name := range names {
			tree, err := parser.ParseFile(fset, filepath.Join(root, dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			trees = append(trees, tree)
		}
		info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
		conf := types.Config{Importer: imp}
		if _, err := conf.Check(module+"/"+dir, fset, trees, info); err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		looked := 0
		for id, obj := range info.Uses {
			if obj.Pkg() == nil || obj.Pkg().Path() == module+"/"+dir {
				continue
			}
			at := fset.Position(id.Pos())
			if slices.Contains(but, filepath.Base(at.Filename)) {
				continue
			}
			looked++
			if f, ok := obj.(*types.Func); ok && acts(f) {
				t.Errorf("%s:%d: %s is called: package %s is pure", at.Filename, at.Line, f.FullName(), dir)
			}
			if v, ok := obj.(*types.Var); ok && !v.IsField() && obj.Pkg().Path() == "os" {
				t.Errorf("%s:%d: os.%s is used: package %s is pure", at.Filename, at.Line, v.Name(), dir)
			}
		}
		if looked == 0 || len(files) == 0 {
			t.Errorf("%s: nothing was looked at", dir)
		}
	}
}

// exportData is where the compiler left what importers need of the packages and
// all that they depend on.
func exportData(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	exports := make(map[string]string)
	for _, line := range goList(t, append([]string{"-deps", "-export", "-f", "{{.ImportPath}}\t{{.Export}}"}, dirs...)...) {
		path, file, _ := strings.Cut(line, "\t")
		exports[path] = file
	}
	return exports
}

// packageFiles are those of the package that are compiled here.
func packageFiles(t *testing.T, dir string) []string {
	t.Helper()
	return goList(t, "-f", `{{range .GoFiles}}{{.}}{{"\n"}}{{end}}`, "./"+dir)
}
