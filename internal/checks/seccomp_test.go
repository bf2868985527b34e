package checks

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// TestSeccompPage holds docs/seccomp.md against the profiles: every group has its
// reason there, and every profile its count.
func TestSeccompPage(t *testing.T) {
	text := page(t, "seccomp.md")
	want := func(row string) {
		if !strings.Contains(text, "\n"+row+"\n") {
			t.Errorf("docs/seccomp.md: no row %q", row)
		}
	}
	for _, name := range profile.Names() {
		p, _, _ := profile.Named(name, profile.Host{Arch: seccomp.AMD64})
		prog, err := seccomp.Compile(p, seccomp.AMD64)
		if err != nil {
			t.Fatal(err)
		}
		reachable, err := seccomp.Reachable(prog, seccomp.AMD64)
		if err != nil {
			t.Fatal(err)
		}
		if row := fmt.Sprintf("\n| `%s` | %d |", name, len(reachable)); !strings.Contains(text, row) {
			t.Errorf("docs/seccomp.md: no row %q", row)
		}
		if name == "docker" {
			continue // its groups are Docker's
		}
		for _, g := range p.Groups {
			if g.Reason == "" {
				t.Errorf("%s: group %s has no reason", name, g.Name)
			}
			want("| `" + g.Name + "` | " + g.Reason + " |")
		}
	}
	for _, o := range seccomp.LeftOut() {
		want("| " + o.Name + " | " + o.Reason + " |")
	}
	for _, block := range blocks(text, "toml") {
		if strings.Contains(block, "[seccomp]") {
			continue
		}
		if _, _, err := profile.ReadTOML("docs/seccomp.md", []byte(block), profile.Host{}); err != nil {
			t.Error(err)
		}
	}
}
