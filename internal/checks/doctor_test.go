package checks

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var codeSpan = regexp.MustCompile("`([^`]+)`")

// TestDoctorPage holds docs/doctor.md against the program: what the doctor says and advises
// there is in its source, and what a row was tried in is a guest or a test.
func TestDoctorPage(t *testing.T) {
	words := literals(t, "internal/host", "internal/cgroup", "internal/cli")
	guests := guestNames(t)
	tests := testNames(t, "internal/host")
	rows := table(page(t, "doctor.md"))
	if len(rows) < 20 {
		t.Fatalf("docs/doctor.md: %d rows", len(rows))
	}
	for _, row := range rows[1:] {
		if len(row) != 5 {
			t.Errorf("docs/doctor.md: %s: %d cells", row[0], len(row))
			continue
		}
		for _, cell := range row[2:4] {
			for _, m := range codeSpan.FindAllStringSubmatch(cell, -1) {
				if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, m[1]) }) {
					t.Errorf("docs/doctor.md: %s: nothing in the source says %q", row[0], m[1])
				}
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(row[4], -1) {
			if !slices.Contains(guests, m[1]) && !slices.Contains(tests, m[1]) {
				t.Errorf("docs/doctor.md: %s: %s is neither a guest of internal/vmtest nor a test", row[0], m[1])
			}
		}
	}
}

// TestGuestsAreDocumented: every guest has a row in docs/platforms.md.
func TestGuestsAreDocumented(t *testing.T) {
	var documented []string
	for _, row := range table(page(t, "platforms.md")) {
		documented = append(documented, firstCode(row[0]))
	}
	for _, name := range guestNames(t) {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/platforms.md: no row of the guest %s", name)
		}
	}
}

func guestNames(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "internal/vmtest/guests.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\tname: "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	if len(names) < 10 {
		t.Fatalf("only the guests %q were found", names)
	}
	return names
}

// testNames are the tests of a folder.
func testNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, f := range source(t) {
		if f.dir != dir || !f.test {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, f.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// literals are the string constants of the files in folders, without their tests.
func literals(t *testing.T, dirs ...string) (all []string) {
	t.Helper()
	for _, f := range source(t) {
		if !slices.Contains(dirs, f.dir) || f.test {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f.name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					all = append(all, s)
				}
			}
			return true
		})
	}
	return all
}
