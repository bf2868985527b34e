package bwrap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOverlays: what bubblewrap 0.11 says of its overlays; Debian's 0.8 has none to compare with. The last source
// is the topmost, and what is written goes to a directory of the caller's, or nowhere.
func TestOverlays(t *testing.T) {
	for name, who := range callers() {
		for _, c := range []struct{ line, script, want, upper string }{
			{"--overlay-src @/ov/l1 --overlay-src @/ov/l2 --tmp-overlay /o", "cat /o/x /o/only; echo new > /o/n && rm /o/only && ls /o", "2\n1\nn\nx\n", ""},
			{"--overlay-src @/ov/l2 --overlay-src @/ov/l1 --tmp-overlay /o", "cat /o/x", "1\n", ""},
			{"--overlay-src @/ov/l1 --tmp-overlay /o", "cat /o/x; echo more >> /o/x && cat /o/x", "1\n1\nmore\n", ""},
			{"--overlay-src @/ov/l1 --overlay-src @/ov/l2 --ro-overlay /o", "cat /o/x /o/only; touch /o/n 2>&1", "2\n1\ntouch: cannot touch '/o/n': Read-only file system\n", ""},
			{"--overlay-src @/ov/l1 --overlay @/ov/up @/ov/work /o", "cat /o/x; echo new > /o/n; ls /o", "1\nn\nonly\nx\n", "n"},
			{"--overlay-src @/ov/l1 --tmp-overlay /o --bind @/a /o/a --remount-ro /o", "ls /o/a/b; touch /o/n 2>&1", "c\ng\ntouch: cannot touch '/o/n': Read-only file system\n", ""},
		} {
			t.Run(name+"/"+c.line, func(t *testing.T) {
				t.Parallel()
				dir := place(t, who)
				line := strings.ReplaceAll(system+c.line, "@", dir)
				r := start(t, who, "/", ours(t), append(strings.Fields(line), "sh", "-c", c.script))
				if r.code != 0 && !strings.Contains(c.script, "touch") || r.stdout != c.want || r.stderr != "" {
					t.Errorf("exit %d, stdout %q, stderr %q, want %q", r.code, r.stdout, r.stderr, c.want)
				}
				unchanged(t, dir, c.upper)
			})
		}
	}
}

// unchanged looks at what an overlay leaves of its sources, and in its upper directory.
func unchanged(t *testing.T, dir, upper string) {
	t.Helper()
	for name, want := range map[string]string{"l1": "only x", "l2": "x", "up": upper} {
		entries, err := os.ReadDir(filepath.Join(dir, "ov", name))
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%s holds %q, want %q: %v", name, got, want, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "ov/l1/x")); string(text) != "1\n" {
		t.Errorf("%q, %v", text, err)
	}
}
