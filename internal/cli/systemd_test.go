package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestSystemdSession: an ordinary user of a login session has limits by scopes of their
// own systemd, which are there no longer than the sandboxes.
func TestSystemdSession(t *testing.T) {
	if os.Geteuid() == 0 {
		needs.Elsewhere(t, "needs an ordinary user's login session: root makes its cgroups itself")
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/private")); err != nil {
		needs.Elsewhere(t, "needs a login session of systemd's: this user has no manager")
	}
	for _, c := range []struct {
		name, want string // reason of the result
		args       []string
		says       string
	}{
		{"memory", "memory", []string{"--memory", "64M", "--", "python3", "-c", "x = bytearray(256 << 20)"}, "memory limit of 64M"},
		{"swap", "memory", []string{"--memory", "64M", "--swap", "0", "--", "python3", "-c", "x = bytearray(256 << 20)"}, "memory limit of 64M"},
		{"processes", "exited", []string{"--pids", "10", "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait"}, "fork"},
		{"CPU time", "cpu-time", []string{"--cpu-time", "300ms", "--", "sh", "-c", "while :; do :; done"}, "300ms"},
		{"share of the processors", "exited", []string{"--cpus", "0.3", "--", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"}, ""},
		{"none", "exited", []string{"--", "true"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := filepath.Join(t.TempDir(), "result.json")
			cmd := cloche(append([]string{"run", "--result", result}, c.args...)...)
			out, _ := cmd.CombinedOutput()
			b, err := os.ReadFile(result)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var r struct {
				Reason    string
				Throttled int `json:"cpu_throttled_periods"`
			}
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			if r.Reason != c.want || !strings.Contains(string(out), c.says) {
				t.Errorf("ended by %q (%s), want %q: %s", r.Reason, b, c.want, out)
			}
			if c.name == "share of the processors" && r.Throttled <= 0 {
				t.Errorf("it was never made to wait: %s", b)
			}
		})
	}
	t.Run("doctor", func(t *testing.T) {
		out, _ := cloche("doctor").CombinedOutput()
		for _, want := range []string{`(?m)^  memory +works +--memory, in a scope`, `(?m)^  processes +works`, `(?m)^  systemd's user manager +works`} {
			if !regexp.MustCompile(want).Match(out) {
				t.Errorf("no %s in\n%s", want, out)
			}
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command("systemctl", "--user", "list-units", "--all", "--no-legend", "cloche*").CombinedOutput()
		if err == nil && len(strings.TrimSpace(string(out))) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("scopes are left: %v: %s", err, out)
			break
		}
	}
}
