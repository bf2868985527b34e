package bwrap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestLimits: limits of a cgroup hold, and the cgroup goes with the sandbox. An ordinary user may
// have none, and is told so.
func TestLimits(t *testing.T) {
	needs.Programs(t, "awk", "tail")
	l := watchForLeft(t)
	const of = `group() { awk -F: -v c=$1 '{n=split($2,a,","); for(i=1;i<=n;i++) if (a[i]==c) {print "/sys/fs/cgroup/" c $3; exit}} $1==0 {u=$3} END {if (u!="") print "/sys/fs/cgroup" u}' /proc/self/cgroup | head -1; }; `
	for name, who := range callers() {
		for _, c := range []struct{ options, script, want string }{
			{"--unshare-pid --proc /proc --cloche-memory 64M", `head -c 200M /dev/zero | tail -c 150M >/dev/null; echo $?`, "137\n"},
			{"--unshare-pid --proc /proc --cloche-pids 8", `(for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done) 2>/dev/null; echo $?`, "2\n"},
			{"--cloche-cpus 0.5", of + `cat $(group cpu)/cpu.cfs_quota_us $(group cpu)/cpu.max 2>/dev/null | cut -d' ' -f1`, "50000\n"},
			{"--cloche-memory 64M --cloche-pids 30", of + `cat $(group pids)/pids.max; cat $(group memory)/memory.limit_in_bytes $(group memory)/memory.max 2>/dev/null; true`, "30\n67108864\n"},
		} {
			t.Run(name+"/"+c.options, func(t *testing.T) {
				t.Parallel()
				line := "--ro-bind / / --dev /dev " + c.options
				r := start(t, who, "/", ours(t), append(strings.Fields(line), "sh", "-c", c.script))
				l.add(r.pid)
				if r.code == 1 && strings.HasPrefix(r.stderr, "bwrap: ") && strings.Contains(r.stderr, "cgroup") && strings.Count(r.stderr, "\n") == 1 {
					if name == "root" {
						needs.Skip(t, r.stderr)
					}
					return // told
				}
				if r.code == 137 && r.stdout == "" && strings.Contains(c.script, "tail") {
					return // the kernel chose the shell
				}
				if r.code != 0 || r.stdout != c.want {
					t.Errorf("exit %d, stdout %q, stderr %q, want %q", r.code, r.stdout, r.stderr, c.want)
				}
			})
		}
	}
}

// TestOwnOptions: what Cloche adds to bubblewrap's options, each for real.
func TestOwnOptions(t *testing.T) {
	needs.Programs(t, "unshare")
	for name, who := range callers() {
		dir := place(t, who)
		rules := filepath.Join(dir, "rules.toml")
		if err := os.WriteFile(rules, []byte("default = \"allow\"\nunknown = \"allow\"\n[[group]]\nname = \"@none\"\nwhy = \"no directory is made\"\nrule = [{ action = \"EDOM\", calls = [\"mkdir\", \"mkdirat\"] }]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		const all = "--ro-bind / / --dev /dev "
		for _, c := range []struct {
			options, script string
			code            int
			out             []string // parts of what is printed
			none            string   // which is not
		}{
			{"--cloche-rlimit nofile=77", "ulimit -n", 0, []string{"77\n"}, ""},
			{"--cloche-rlimit nofile=77 --cloche-rlimit core=0", "ulimit -n; ulimit -c", 0, []string{"77\n0\n"}, ""},
			{"--cloche-rlimit nonsense=1", "true", 1, []string{"bwrap: --cloche-rlimit"}, ""},
			{"--cloche-seccomp default", "unshare -U true; grep Seccomp: /proc/self/status", 0, []string{"Operation not permitted", "Seccomp:\t2"}, ""},
			{"--cloche-seccomp strict", "echo ran", 159, nil, "ran\n"},
			{"--cloche-seccomp build", "echo built", 0, []string{"built"}, ""},
			{"--cloche-seccomp docker", "grep Seccomp: /proc/self/status", 0, []string{"Seccomp:\t2"}, ""},
			{"--cloche-seccomp " + rules, "mkdir /tmp/x", 1, []string{"Numerical argument out of domain"}, ""},
			{"--cloche-seccomp /nope", "echo ran", 1, []string{"bwrap: ", "/nope"}, "ran"},
			{"--cloche-explain --dir /nope/x", "true", 1, []string{"bwrap: Can't mkdir /nope/x: Read-only file system", "[directory /nope/x, asked for by --dir /nope/x: mkdirat("}, ""},
			{"--cloche-explain", "exit 7", 7, nil, "bwrap"},
			{"--cloche-plan", "echo ran", 0, []string{"launcher: ", "pivot_root(", "execve("}, "ran\n"},
			{"--cloche-plan --bind /nope /x", "echo ran", 1, []string{"bwrap: Can't find source path /nope"}, "pivot_root"},
			{"--print-policy", "echo ran", 0, []string{"[filesystem]", "mode = \"host\""}, "ran\n"},
		} {
			for how, environ := range map[string]bool{"option": false, "environment": true} {
				if environ && (strings.Contains(c.options, "--print") || strings.Contains(c.options, "--dir") || strings.Contains(c.options, "--bind")) {
					continue
				}
				t.Run(name+"/"+how+" "+c.options, func(t *testing.T) {
					t.Parallel()
					line := append(strings.Fields(all+c.options), "sh", "-c", c.script)
					program := ours(t)
					if environ {
						line = append(append([]string{"BWRAP=1", "CLOCHE_BWRAP_OPTIONS=" + c.options, program}, strings.Fields(all)...), "sh", "-c", c.script+"; r=$?; env | grep CLOCHE_BWRAP; exit $r")
						program = "/usr/bin/env"
					}
					r := start(t, who, dir, program, line)
					out := r.stdout + r.stderr
					for _, part := range c.out {
						if !strings.Contains(out, part) {
							t.Errorf("no %q", part)
						}
					}
					if r.code != c.code || c.none != "" && strings.Contains(out, c.none) || strings.Contains(out, "CLOCHE_BWRAP_OPTIONS=") {
						t.Errorf("not as it should be")
					}
					if t.Failed() {
						t.Logf("exit %d, want %d\n%s", r.code, c.code, out)
					}
				})
			}
		}
	}
}
