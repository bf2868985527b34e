package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkAboveMountPoint: where a mount point has to be made in a tree that somebody else
// filled, a link on the way leads nowhere outside. bubblewrap followed one, before its
// sandbox was there, and made names on the host (CVE-2026-87766).
func TestLinkAboveMountPoint(t *testing.T) {
	for name, link := range map[string]func(dir string) string{
		"absolute": func(dir string) string { return filepath.Join(dir, "prey") },
		"relative": func(dir string) string { return strings.Repeat("../", 20) + filepath.Join(dir, "prey")[1:] },
	} {
		for _, flags := range [][]string{
			{"tmpfs", "/m/data/new/sub"},
			{"bind", "/etc/passwd:/m/data/new"},
			{"hide", "/m/data/new/name"},
		} {
			t.Run(name+" "+flags[0], func(t *testing.T) {
				dir := tree(t, "lower/", "prey/")
				if err := os.Symlink(link(dir), filepath.Join(dir, "lower/data")); err != nil {
					t.Fatal(err)
				}
				out, err := script(t, dir, "true", append([]string{"overlay", "/m:lower=" + dir + "/lower"}, flags...)...)
				if left, _ := os.ReadDir(filepath.Join(dir, "prey")); len(left) > 0 {
					t.Errorf("%s was made outside: %v %s", left[0].Name(), err, out)
				}
				if err == nil {
					t.Error("it should be refused: nothing was mounted where the policy says")
				}
			})
		}
	}
	// A directory that is missing is made, in the upper layer alone.
	dir := tree(t, "lower/real/")
	if out, err := script(t, dir, "cat /m/real/new/passwd", "overlay", "/m:lower="+dir+"/lower", "bind", "/etc/passwd:/m/real/new/passwd"); err != nil || !strings.Contains(out, "root") {
		t.Errorf("%v: %s", err, out)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "lower/real")); len(left) > 0 {
		t.Errorf("%s was made in the lower layer", left[0].Name())
	}
}
