package bwrap_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/bwrap"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

func noFD(int) ([]byte, error) { return nil, unix.EBADF }

func parse(args ...string) (*bwrap.Invocation, error) { return bwrap.Parse(args, noFD) }

// TestMissingArguments: each option without its last argument is refused by name.
func TestMissingArguments(t *testing.T) {
	bwrap.Options(func(name, args, _, _ string) {
		if args == "" {
			return
		}
		line := []string{name}
		for range strings.Count(args, " ") {
			line = append(line, "0")
		}
		if _, err := parse(line...); err == nil || !strings.HasPrefix(err.Error(), name+" takes ") {
			t.Errorf("%q: %v", line, err)
		}
	})
}

// TestBadArguments: values that mean nothing, in bubblewrap's words.
func TestBadArguments(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"--nope", "Unknown option --nope"},
		{"-x", "Unknown option -x"},
		{"--bind-fd x /a true", "Invalid fd: x"},
		{"--bind-fd -1 /a true", "Invalid fd: -1"},
		{"--file 99999999999 /a true", "Invalid fd: 99999999999"},
		{"--file 3x /a true", "Invalid fd: 3x"},
		{"--uid x true", "Invalid uid: x"},
		{"--gid -5 true", "Invalid gid: -5"},
		{"--cap-add CAP_NOPE true", "unknown cap: CAP_NOPE"},
		{"--cap-drop nope true", "unknown cap: nope"},
		{"--perms 9 --dir /a true", "--perms takes an octal argument <= 07777"},
		{"--perms 10000 --dir /a true", "--perms takes an octal argument <= 07777"},
		{"--perms 7 --perms 7 --dir /a true", "--perms given twice for the same action"},
		{"--perms 7 --bind / / true", "--perms must be followed by an option that creates a file"},
		{"--perms 7 --size 8 --dir /a true", "--size must be followed by --tmpfs"},
		{"--size 0 --tmpfs /a true", "--size takes a non-zero number of bytes"},
		{"--size -1 --tmpfs /a true", "--size takes a non-zero number of bytes"},
		{"--size 9223372036854775808 --tmpfs /a true", "--size (for tmpfs) is limited to 9223372036854775807"},
		{"--size 5 true", ""},
		{"--chmod x /a true", "--chmod takes an octal argument <= 07777"},
		{"--overlay-src /a true", "--overlay-src must be followed by another --overlay-src or one of --overlay, --tmp-overlay, or --ro-overlay"},
		{"--overlay-src /a --bind / / true", "--overlay-src must be followed by another --overlay-src or one of --overlay, --tmp-overlay, or --ro-overlay"},
		{"--tmp-overlay /a true", "--tmp-overlay requires at least one --overlay-src"},
		{"--overlay-src /a --ro-overlay /b true", "--ro-overlay requires at least two --overlay-src"},
		{"--overlay /a /b /c true", "--overlay requires at least one --overlay-src"},
		{"--argv0 a --argv0 b true", "--argv0 used multiple times"},
		{"--seccomp 3 --add-seccomp-fd 4 true", "--add-seccomp-fd cannot be combined with --seccomp"},
		{"--add-seccomp-fd 4 --seccomp 3 true", "--seccomp cannot be combined with --add-seccomp-fd"},
		{"--args 3 true", "Can't read --args data: Bad file descriptor"},
		{"--hostname x true", "Specifying --hostname requires --unshare-uts"},
		{"--as-pid-1 true", "Specifying --as-pid-1 requires --unshare-pid"},
		{"--unshare-pid --as-pid-1 --lock-file /a true", "Specifying --as-pid-1 and --lock-file is not permitted"},
		{"--disable-userns true", "--disable-userns requires --unshare-user"},
		{"--userns-block-fd 3 true", "--userns-block-fd requires --unshare-user"},
		{"--unshare-user --userns-block-fd 3 true", "--userns-block-fd requires --info-fd"},
		{"--unshare-user --disable-userns --info-fd 4 --userns-block-fd 3 true", "--disable-userns is not compatible with --userns-block-fd"},
		{"--unshare-user --userns 3 true", "--userns is not compatible with --unshare-user"},
		{"--setenv A=B c true", "setenv failed: Invalid argument"},
	} {
		_, err := parse(strings.Fields(c.line)...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: %v, want %q", c.line, err, c.want)
		}
	}
	if _, err := parse(make([]string, 9001)...); err == nil || !strings.Contains(err.Error(), "maximum number") {
		t.Errorf("too many: %v", err)
	}
}

// TestArgsFrom: what --args brings stands where it was asked for, and -- in it ends it alone.
func TestArgsFrom(t *testing.T) {
	read := func(fd int) ([]byte, error) {
		switch fd {
		case 3:
			return []byte("--ro-bind\x00/a\x00/b\x00--\x00--dir\x00/no"), nil
		case 4:
			return []byte("--args\x003\x00"), nil
		}
		return nil, errors.New("?")
	}
	i, err := bwrap.Parse([]string{"--args", "3", "--dir", "/c", "--", "--cmd", "x"}, read)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(i.Options, " "); got != "--ro-bind /a /b --dir /c" {
		t.Errorf("options %q", got)
	}
	if got := strings.Join(i.Command, " "); got != "--cmd x" {
		t.Errorf("command %q", got)
	}
	if _, err := bwrap.Parse([]string{"--args", "4", "true"}, read); err == nil || err.Error() != "--args not supported in arguments file" {
		t.Errorf("nested: %v", err)
	}
}

// aUser and root are who calls in pure tests.
func aUser() *bwrap.World {
	return &bwrap.World{UID: 1000, GID: 1000, UserNamespaces: true, Cwd: "/home/u/p", Environ: []string{"HOME=/home/u", "PATH=/usr/bin", "A=b", "PWD=/else"}}
}

// TestGoldenPolicies holds what --print-policy says of command lines.
func TestGoldenPolicies(t *testing.T) {
	for name, line := range lines {
		i, err := parse(strings.Fields(line)...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := bwrap.Convert(i, aUser())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := s.TOML()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name+".toml", string(text))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("CLOCHE_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs; CLOCHE_UPDATE=1 rewrites it. Got:\n%s", file, got)
	}
}

// lines are command lines of callers, shortened.
var lines = map[string]string{
	"plain":   "--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp true",
	"agent":   "--new-session --die-with-parent --unshare-net --ro-bind / / --bind /home/u/p /home/u/p --ro-bind /home/u/p/.git /home/u/p/.git --tmpfs /secret --dev /dev --unshare-pid --proc /proc --setenv A c --unsetenv B sh",
	"flatpak": "--unshare-pid --unshare-ipc --die-with-parent --proc /proc --dir /tmp --dir /var/tmp --dir /run/user/1000 --ro-bind /rt/files /usr --ro-bind /app/files /app --symlink usr/bin /bin --symlink usr/lib /lib --symlink /run /var/run --dev /dev --tmpfs /dev/shm --remount-ro / --seccomp 9 --info-fd 8 --unshare-user --disable-userns cmd",
	"order":   "--bind /a/b /a/b --bind /a /a --tmpfs /t --symlink x /t/l --dir /t/d --remount-ro /a --chmod 0700 /t --size 4096 --perms 1777 --tmpfs /s --overlay-src /l1 --overlay-src /l2 --tmp-overlay /o --clearenv --setenv X y --chdir /s true",
}

func FuzzParse(f *testing.F) {
	for _, line := range lines {
		f.Add(strings.ReplaceAll(line, " ", "\x00"), "--dir\x00/x")
	}
	f.Add("--args\x003\x00--perms\x0007\x00--tmpfs\x00/a\x00--\x00x", "--size\x005\x00--tmpfs\x00\xff\xfe")
	f.Fuzz(func(t *testing.T, line, file string) {
		args := strings.Split(line, "\x00")
		i, err := bwrap.Parse(args, func(int) ([]byte, error) { return []byte(file), nil })
		if err != nil {
			if err.Error() == "" || strings.Contains(err.Error(), "%!") {
				t.Errorf("%q: %v", args, err)
			}
			return
		}
		if i.Help || i.Version || i.Completion != "" {
			return
		}
		// What was read can be read again, and means the same.
		again, err := bwrap.Parse(append(append([]string{}, i.Options...), append([]string{"--"}, i.Command...)...), noFD)
		if err != nil || len(again.Acts) != len(i.Acts) || strings.Join(again.Command, "\x00") != strings.Join(i.Command, "\x00") {
			t.Errorf("%q: read again: %v", args, err)
		}
		s, err := bwrap.Convert(i, aUser())
		if err != nil {
			return
		}
		if _, err := s.TOML(); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	})
}

// TestGoldenPlan holds every operation that a command line comes to.
func TestGoldenPlan(t *testing.T) {
	i, err := parse(strings.Fields("--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp --bind /src /src/new --symlink x /tmp/l --info-fd 9 --die-with-parent true")...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bwrap.Convert(i, aUser())
	if err != nil {
		t.Fatal(err)
	}
	dir := host.PathFact{Exists: true, Mode: unix.S_IFDIR | 0o755, Ino: 2, DevMajor: 8, DevMinor: 1}
	facts := host.Facts{GOARCH: "amd64", UID: 1000, GID: 1000, MountAPI: host.MountAPI{OpenTree: true, MoveMount: true, Fsopen: true, Fsmount: true, MountSetattr: true}, Openat2: true, CloseRange: true, RangeOnExec: true, Paths: map[string]host.PathFact{}}
	for _, p := range plan.SequencePaths(s.Acts) {
		dir.Real = p
		facts.Paths[p] = dir
	}
	pl, err := plan.Compile(plan.Input{
		Policy: s.Policy, Sequence: s.Acts, Manner: s.Manner, Facts: facts, InitFilter: []unix.SockFilter{{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}},
		StatusFD: 4, ControlFD: -1, CgroupFD: -1, Standalone: &plan.Standalone{InPlace: &plan.InPlace{ArgvSkip: 3, ReadFD: 3, ExeFD: 5, Env: []string{"HOME=/home/u"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := pl.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "plan", text.String())
}
