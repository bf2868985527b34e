package cli

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// What ends a set-up early can only be guessed: the limits that are small enough
// are named, and no others.
func TestTooSmallToStart(t *testing.T) {
	for _, c := range []struct {
		name  string
		p     policy.Policy
		errno unix.Errno
		want  string
	}{
		{name: "no limits"},
		{name: "memory", p: policy.Policy{Limits: policy.Limits{Memory: 4096}}, want: "; limits.memory is 4K (--here): give at least 1M"},
		{name: "enough memory", p: policy.Policy{Limits: policy.Limits{Memory: 64 << 20}}},
		{name: "wall", p: policy.Policy{Time: policy.TimeLimits{Wall: 1}}, want: "; time.wall is 1ns (--here): give at least 100ms"},
		{name: "cpu", p: policy.Policy{Time: policy.TimeLimits{CPU: time.Millisecond}}, want: "; time.cpu is 1ms (--here): give at least 100ms"},
		{name: "enough time", p: policy.Policy{Time: policy.TimeLimits{CPU: time.Second, Wall: time.Second}}},
		{
			name: "files", errno: unix.EMFILE, p: policy.Policy{Rlimits: map[string]policy.Rlimit{"nofile": {Soft: 3, Hard: 3}}},
			want: "; rlimits.nofile leaves no room for the set-up (--here): give at least 16",
		},
		{name: "another error", errno: unix.EPERM, p: policy.Policy{Limits: policy.Limits{Memory: 4096}}},
	} {
		c.p.Origins = map[string]string{}
		for _, key := range []string{"limits.memory", "time.wall", "time.cpu", "rlimits.nofile"} {
			c.p.Origins[key] = "--here"
		}
		if got := tooSmallToStart(&c.p, c.errno); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
