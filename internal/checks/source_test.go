package checks

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/cloche-sandbox/cloche"
)

// goFile is a Go file of this repository, whatever its build constraints say.
type goFile struct {
	name      string // from the root, such as "policy/flags.go"
	dir       string // its package's folder
	pkg       string // the package clause
	test      bool
	external  bool // of a package x_test
	generated bool
	lines     int
	doc       string // the package's comment, where this file has it
	imports   []string
}

// goFiles reads them all. The files are opened here and not by a `go list`, so that
// the go command knows what a cached result depends on.
var goFiles = sync.OnceValues(func() ([]goFile, error) {
	var files []goFile
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != root && (base == "testdata" || base == "bin" || base[0] == '.' || base[0] == '_') {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		f, err := readGo(name)
		if err == nil {
			files = append(files, f)
		}
		return err
	})
	return files, err
})

func readGo(name string) (goFile, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return goFile{}, err
	}
	tree, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return goFile{}, err
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return goFile{}, err
	}
	rel = filepath.ToSlash(rel)
	f := goFile{
		name: rel, dir: path.Dir(rel), pkg: tree.Name.Name, doc: tree.Doc.Text(),
		test: strings.HasSuffix(rel, "_test.go"), generated: ast.IsGenerated(tree), lines: bytes.Count(src, []byte("\n")),
	}
	f.external = f.test && strings.HasSuffix(f.pkg, "_test")
	for _, i := range tree.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return f, err
		}
		f.imports = append(f.imports, p)
	}
	return f, nil
}

// source returns the repository's files, of which there are some.
func source(t *testing.T) []goFile {
	t.Helper()
	files, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d Go files were found in %s", len(files), root)
	}
	return files
}

// maxLines is what a reader can keep in view. What is longer holds two things.
const maxLines = 420

func TestFilesAreShort(t *testing.T) {
	for _, f := range source(t) {
		if !f.generated && f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: give what it does second a file of its own", f.name, f.lines, maxLines)
		}
	}
}

func TestPackagesHaveComments(t *testing.T) {
	type about struct {
		pkg  string
		doc  string
		code bool
	}
	packages := make(map[string]*about)
	for _, f := range source(t) {
		if f.external {
			continue
		}
		p := packages[f.dir]
		if p == nil {
			p = &about{pkg: f.pkg}
			packages[f.dir] = p
		}
		p.code = p.code || !f.test
		if f.doc != "" && !f.test {
			if p.doc != "" {
				t.Errorf("%s: two files have a package comment; keep one", f.dir)
			}
			p.doc = f.doc
		}
	}
	for dir, p := range packages {
		switch {
		case !p.code:
			t.Errorf("%s: it holds tests alone; add a doc.go that says what they are about", dir)
		case p.doc == "":
			t.Errorf("%s: no file has a package comment; say in one what package %s is for", dir, p.pkg)
		case p.pkg != "main" && !strings.HasPrefix(p.doc, "Package "+p.pkg+" "):
			t.Errorf("%s: its comment does not begin with %q", dir, "Package "+p.pkg)
		}
	}
}
