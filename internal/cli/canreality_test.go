package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// answer is one of `cloche can --json`.
type answer struct {
	Question string `json:"question"`
	Yes      bool   `json:"allowed"`
	Why      string `json:"why"`
	Rule     string `json:"rule"`
}

// What `cloche can` says is what a program inside then sees: for some hundred
// paths of this very machine, under each profile and some flags.
func TestCanTellsTheTruth(t *testing.T) {
	asRootAndUser(t, func(t *testing.T) {
		requireSandbox(t)
		dir := openDir(t)
		makeSamples(t, dir)
		exe := filepath.Join(openDir(t), "probe")
		copyFile(t, "/proc/self/exe", exe, 0o755)
		for _, c := range []struct {
			name  string
			flags []string
			safe  bool // the host is writable: only ask, do not try
			root  bool // needs root outside
		}{
			{name: "default"},
			{name: "build", flags: []string{"--profile", "build"}},
			{name: "judge", flags: []string{"--profile", "judge", "--read", "."}},
			{name: "open", flags: []string{"--profile", "open"}, safe: true},
			{name: "through-links", flags: []string{"--hide", "/bin/ls", "--hide", dir + "/to-file", "--write", dir + "/to-sub"}},
			{name: "open-through-links", flags: []string{"--profile", "open", "--hide", "/usr/bin/ls", "--hide", dir + "/sub"}, safe: true},
			{name: "hidden-in-private", flags: []string{"--hide", "/tmp/later", "--hide", "/dev/shm", "--hide", "/dev/null", "--hide", "/dev/none", "--hide", "/proc/cpuinfo"}},
			{name: "map-root", flags: []string{"--map-root"}},
			{name: "no-landlock", flags: []string{"--landlock", "off"}},
			{name: "no-init", flags: []string{"--no-init"}},
			{name: "read-root", flags: []string{"--read", "/", "--hide", "/usr/share", "--hide", dir + "/sub", "--tmpfs", "/tmp", "--write", dir}},
			{name: "capabilities", flags: []string{"--map-root", "--cap-add", "CAP_DAC_OVERRIDE", "--write", "."}},
			{name: "overlay", flags: []string{"--overlay", dir}},
			{name: "real-root", flags: []string{"--share", "user", "--cap-add", "CAP_DAC_READ_SEARCH"}, root: true},
			{name: "another-user", flags: []string{"--share", "user", "--user", "1234:1234"}, root: true},
		} {
			t.Run(c.name, func(t *testing.T) {
				if c.root {
					needs.Root(t, "only root may do this")
				}
				flags := append(slices.Clone(c.flags), "--read", exe)
				if c.name == "judge" && os.Geteuid() != 0 {
					// An ordinary user may make no cgroup everywhere.
					flags = append(flags, "--memory", "none", "--swap", "none", "--pids", "none", "--cpu-time", "none")
				}
				mode := "try"
				if c.safe {
					mode = "access"
				}
				compareWithReality(t, dir, exe, mode, flags)
			})
		}
	})
}

func compareWithReality(t *testing.T, dir, exe, mode string, flags []string) {
	paths := samplePaths(dir)
	args := append([]string{"can", "--json"}, flags...)
	var questions []string
	for _, verb := range []string{"read", "write", "exec"} {
		for _, p := range paths {
			if mode == "access" && verb == "write" && (strings.HasPrefix(p, "/dev") || strings.HasPrefix(p, "/sys") || strings.HasPrefix(p, "/proc")) {
				continue // access(2) does not ask the driver
			}
			if verb == "exec" && unreal(p) {
				continue
			}
			questions = append(questions, verb+" "+p)
		}
	}
	answers := askCan(t, dir, args, questions)

	cmd := cloche(append(append([]string{"run"}, flags...), "--", exe)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), probeVariable+"=") // for cloche itself: not a prober
	cmd.Args = slices.Insert(cmd.Args, 2, "--env", probeVariable+"="+mode)
	cmd.Stdin = strings.NewReader(strings.Join(questions, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	seen := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(seen) != len(questions) {
		t.Fatalf("%d answers to %d questions\n%s", len(seen), len(questions), stderr.Bytes())
	}
	wrong, compared := 0, 0
	for i, q := range questions {
		a, ok := answers[q]
		if !ok {
			continue // it depends on what runs
		}
		if strings.HasPrefix(a.Why, "its ") && strings.Contains(a.Why, "interpreter") {
			continue // the check inside does not look at interpreters
		}
		compared++
		if yes := strings.HasPrefix(seen[i], "yes"); a.Yes != yes {
			wrong++
			if wrong <= 40 {
				t.Errorf("%s: can says %v (%s; %s), inside: %s", q, a.Yes, a.Why, a.Rule, seen[i])
			}
		}
	}
	t.Logf("%d questions, %d wrong", compared, wrong)
	if compared < 300 {
		t.Errorf("only %d questions were compared", compared)
	}
}

// askCan asks many questions in few calls; one that has no answer is left out.
func askCan(t *testing.T, dir string, args, questions []string) map[string]answer {
	t.Helper()
	answers := map[string]answer{}
	var ask func(qs []string)
	ask = func(qs []string) {
		cmd := cloche(args...)
		for _, q := range qs {
			verb, p, _ := strings.Cut(q, " ")
			cmd.Args = append(cmd.Args, verb, p)
		}
		cmd.Dir = dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if cmd.ProcessState.ExitCode() == 125 {
			switch {
			case len(qs) > 1:
				ask(qs[:len(qs)/2])
				ask(qs[len(qs)/2:])
			case !strings.Contains(stderr.String(), "it depends on the running command"):
				t.Fatalf("%q: %s", qs, stderr.Bytes())
			}
			return
		}
		var got []answer
		if jerr := json.Unmarshal(out, &got); jerr != nil {
			t.Fatalf("%v %v: %s%s", err, jerr, out, stderr.Bytes())
		}
		for _, a := range got {
			answers[a.Question] = a
		}
	}
	ask(questions)
	return answers
}

// unreal are the kernel's own file systems, where executing means nothing.
func unreal(p string) bool {
	return strings.HasPrefix(p, "/proc") || strings.HasPrefix(p, "/sys") || strings.HasPrefix(p, "/dev")
}

// makeSamples puts one file of every kind and mode in dir.
func makeSamples(t *testing.T, dir string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []os.FileMode{0o000, 0o400, 0o444, 0o600, 0o644, 0o666, 0o700, 0o755, 0o711, 0o001, 0o070, 0o007, 0o200, 0o040} {
		name := filepath.Join(dir, "file-"+modeText(mode))
		check(os.WriteFile(name, []byte("x"), 0o600))
		check(os.Chmod(name, mode))
		sub := filepath.Join(dir, "dir-"+modeText(mode))
		check(os.Mkdir(sub, 0o700))
		check(os.WriteFile(filepath.Join(sub, "f"), []byte("x"), 0o644))
		check(os.Chmod(sub, mode))
	}
	if os.Geteuid() == 0 {
		for _, id := range []int{1, 1234, testUser} {
			for _, mode := range []os.FileMode{0o600, 0o640, 0o604, 0o755, 0o777} {
				name := filepath.Join(dir, "file-"+modeText(mode)+"-of-"+modeText(os.FileMode(id)))
				check(os.WriteFile(name, []byte("x"), 0o600))
				check(os.Chown(name, id, id))
				check(os.Chmod(name, mode))
			}
		}
	}
	check(os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	check(os.WriteFile(filepath.Join(dir, "sub", "f"), []byte("x"), 0o644))
	check(unix.Mkfifo(filepath.Join(dir, "pipe"), 0o666))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(err)
	check(unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "socket")}))
	unix.Close(fd)
	for name, to := range map[string]string{
		"to-file": "file-644", "to-etc": "/etc/passwd", "to-home": "/root", "circle": "circle", "dangling": "nothing",
		"to-tmp": "/tmp", "dangling-tmp": "/tmp/nothing", "up": "..", "to-sub": "sub/../sub/f", "to-bin": "/bin", "absolute": dir + "/sub/f",
	} {
		check(os.Symlink(to, filepath.Join(dir, name)))
	}
}

func modeText(m os.FileMode) string {
	const digits = "0123456789"
	s := ""
	for n := int(m); n > 0 || s == ""; n /= 8 {
		s = string(digits[n%8]) + s
	}
	return s
}

// samplePaths are a few hundred paths of this machine and of dir.
func samplePaths(dir string) []string {
	var all []string
	list := func(d string, most int) {
		names, _ := filepath.Glob(d + "/*")
		hidden, _ := filepath.Glob(d + "/.?*")
		names = append(names, hidden...)
		step := max(1, len(names)/most)
		for i := 0; i < len(names); i += step {
			all = append(all, names[i])
		}
		all = append(all, d, d+"/cloche-test-nothing")
	}
	list(dir, 1000)
	list(dir+"/sub", 10)
	for _, m := range []string{"000", "400", "711", "755", "1", "70"} {
		all = append(all, dir+"/dir-"+m[max(0, len(m)-3):]+"/f")
	}
	for d, most := range map[string]int{
		"": 100, "/bin": 20, "/sbin": 10, "/etc": 150, "/etc/ssl": 10, "/etc/ssh": 20, "/etc/alternatives": 10, "/usr": 20, "/usr/bin": 60, "/usr/lib": 40,
		"/usr/local": 10, "/opt": 10, "/var": 20, "/var/lib": 10, "/var/log": 20, "/var/tmp": 5, "/tmp": 10, "/run": 20, "/home": 10, "/root": 20,
		"/dev": 40, "/dev/pts": 5, "/dev/shm": 5, "/dev/mqueue": 3, "/sys": 10, "/sys/kernel": 20, "/sys/fs": 10, "/proc/sys": 10, "/proc/sys/kernel": 40, "/proc/sys/vm": 10,
		"/proc/self": 100, "/proc/irq": 5, "/proc/fs": 5, "/proc/bus": 5, "/proc/pressure": 5,
	} {
		list(d, most)
	}
	for _, p := range all {
		if rest, ok := strings.CutPrefix(p, "/proc/self/"); ok {
			all = append(all, "/proc/1/"+rest)
		}
	}
	names, _ := filepath.Glob("/proc/[a-z]*")
	all = append(all, names...)
	all = append(all, "/", "/etc/../etc/passwd", "/usr/bin/../lib", "//etc//passwd", "/proc/self/root/etc/passwd", "/proc/self/cwd", "/proc/self/cwd/file-644", "/dev/pts/ptmx", "/bin/ls", "/usr/bin/ls")
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(p string) bool {
		switch {
		case p == "" || strings.ContainsAny(p, "\n"):
			return true
		case strings.HasPrefix(p, "/tmp/") && !strings.HasPrefix(p, dir) && p != "/tmp/cloche-test-nothing":
			return true // somebody else's, which may come and go
		case strings.HasPrefix(p, "/proc/self/net") || strings.HasPrefix(p, "/proc/1/net") || strings.HasPrefix(p, "/proc/net/"):
			return true // of the namespace that it is asked in
		}
		return false
	})
}
