package checks

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/attack"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestSecurityPage holds docs/security.md against the corpus: every attack has one row, which
// says what it tries and what stops it, nothing has a row that is none, and nothing got
// out of Cloche.
func TestSecurityPage(t *testing.T) {
	needs.Arch(t, "the page is about its attacks, too", "amd64")
	text := page(t, "security.md")
	_, text, _ = strings.Cut(text, "\n## The attacks\n")
	text, _, _ = strings.Cut(text, "\n## What is visible")
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)`: (.*) \\|$").FindAllStringSubmatch(text, -1) {
		if rows[m[1]] != nil {
			t.Errorf("docs/security.md: two rows of %s", m[1])
		}
		rows[m[1]] = strings.Split(m[2], " | ")
	}
	for _, a := range attack.Corpus() {
		row := rows[a.Name]
		delete(rows, a.Name)
		stops := a.Meant()
		if a.Unshown != "" {
			stops += fmt.Sprintf(" (not shown to work: %s)", a.Unshown)
		}
		switch {
		case row == nil:
			t.Errorf("docs/security.md: no row of %s; see attack/peers", a.Name)
		case len(row) != 10:
			t.Errorf("docs/security.md: %s: %d cells", a.Name, len(row))
		case row[0] != a.Tries || row[1] != stops:
			t.Errorf("docs/security.md: %s: is %q, %q, want %q, %q", a.Name, row[0], row[1], a.Tries, stops)
		case strings.Contains(row[3], "out"):
			t.Errorf("docs/security.md: %s got out of Cloche: %q", a.Name, row[3])
		}
	}
	for name := range rows {
		t.Errorf("docs/security.md: a row of %s, which is no attack", name)
	}
}

// TestContainersInSecurityPage: where both crun and runc stop an attack, so does
// cloche-oci with the same config.
func TestContainersInSecurityPage(t *testing.T) {
	rows := table(section(t, page(t, "security.md"), "## In containers"))
	if len(rows) < 20 {
		t.Fatalf("docs/security.md, In containers: %d rows", len(rows))
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, how := range []string{"", " as Docker"} {
		for _, row := range rows[1:] {
			out := func(name string) bool { return strings.Contains(row[column[name+how]], "out") }
			if out("cloche-oci") && !out("crun") && !out("runc") {
				t.Errorf("docs/security.md: %s got out of cloche-oci%s, and not out of crun and runc", row[0], how)
			}
		}
	}
}
