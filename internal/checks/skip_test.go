package checks

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
)

// TestSkips: tests skip through package needs alone, which knows what a machine of which
// everything is required could have.
func TestSkips(t *testing.T) {
	for _, f := range source(t) {
		if f.dir == "internal/needs" || !f.test {
			continue
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, filepath.Join(root, f.name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "needs" {
				t.Errorf("%s: a bare %s: use needs.Skip, or what package needs has for the case, so that CLOCHE_REQUIRE=all sees it", set.Position(call.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}
