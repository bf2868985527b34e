package checks

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// page is a file of docs.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// table is the rows of the tables in text, each as its cells. What is in a cell
// is as a reader sees it: \| is a bar.
func table(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|-") {
			continue
		}
		line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|")
		}
		rows = append(rows, cells)
	}
	return rows
}

// firstCode is the `code` that a cell begins with, or "".
func firstCode(cell string) string {
	if rest, ok := strings.CutPrefix(cell, "`"); ok {
		code, _, _ := strings.Cut(rest, "`")
		return code
	}
	return ""
}

// section is the part of a page under a heading that begins with title.
func section(t *testing.T, text, title string) string {
	t.Helper()
	marks := title[:strings.IndexByte(title, ' ')+1]
	_, rest, ok := strings.Cut("\n"+text, "\n"+title)
	if !ok {
		t.Fatalf("there is no heading %q", title)
	}
	rest, _, _ = strings.Cut(rest, "\n"+marks)
	return rest
}

// blocks are the fenced blocks of a language.
func blocks(text, language string) (found []string) {
	for {
		_, rest, ok := strings.Cut(text, "\n```"+language+"\n")
		if !ok {
			return found
		}
		block, rest, ok := strings.Cut(rest, "\n```")
		if !ok {
			return found
		}
		found, text = append(found, block+"\n"), rest
	}
}

// TestResultPage holds docs/result.md against sandbox.Result.
func TestResultPage(t *testing.T) {
	text := page(t, "result.md")
	var fields, required []string
	for f := range reflect.TypeFor[sandbox.Result]().Fields() {
		name, omit, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		if omit == "" {
			required = append(required, name)
		}
	}
	fields = append(fields, "error") // of the file alone
	reasons := constants(t, "sandbox/result.go", "Reason")

	var documented []string
	for _, row := range table(section(t, text, "## Fields")) {
		if c := firstCode(row[0]); c != "" {
			documented = append(documented, c)
		}
	}
	if d := cmp.Diff(fields, documented); d != "" {
		t.Errorf("docs/result.md, Fields: sandbox.Result - page +\n%s", d)
	}
	documented = nil
	for _, row := range table(section(t, text, "## Reasons"))[1:] {
		documented = append(documented, firstCode(row[0]))
	}
	if d := cmp.Diff(reasons, documented); d != "" {
		t.Errorf("docs/result.md, Reasons: sandbox.Reason - page +\n%s", d)
	}

	var schema struct {
		Properties map[string]struct{ Enum []string }
		Required   []string
	}
	if err := json.Unmarshal([]byte(blocks(text, "json")[0]), &schema); err != nil {
		t.Fatalf("docs/result.md, JSON Schema: %v", err)
	}
	if d := cmp.Diff(required, schema.Required); d != "" {
		t.Errorf("docs/result.md, JSON Schema, required: sandbox.Result - page +\n%s", d)
	}
	if d := cmp.Diff(reasons, schema.Properties["reason"].Enum); d != "" {
		t.Errorf("docs/result.md, JSON Schema, reason: sandbox.Reason - page +\n%s", d)
	}
	for _, f := range fields {
		if _, ok := schema.Properties[f]; !ok {
			t.Errorf("docs/result.md, JSON Schema: %s is missing", f)
		}
	}
	if len(schema.Properties) != len(fields) {
		t.Errorf("docs/result.md, JSON Schema: %d properties for %d fields", len(schema.Properties), len(fields))
	}

	// What the examples show is what a reader of today would find.
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, `{"reason"`) {
			continue
		}
		var example map[string]any
		if err := json.Unmarshal([]byte(line), &example); err != nil {
			t.Errorf("docs/result.md: %s: %v", line, err)
		}
		for _, f := range required {
			if _, ok := example[f]; !ok {
				t.Errorf("docs/result.md: an example has no %s", f)
			}
		}
		for f := range example {
			if !slices.Contains(fields, f) {
				t.Errorf("docs/result.md: an example has %s, which Result has not", f)
			}
		}
	}
}

// constants are the values of a file's string constants of a type, in order.
func constants(t *testing.T, file, typ string) (values []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == typ && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, s)
			}
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", file, typ)
	}
	return values
}

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

// TestLinks finds links to pages that are not there.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages: ", err)
	}
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(pages, top...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
			}
		}
	}
}
