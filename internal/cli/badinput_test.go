package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestBadInput runs testdata/badinput: what people and hostile files get wrong.
// Their command `bad STATUS PATTERN PROGRAM ARGS…` wants the exit status, one
// line of Cloche's that the pattern matches, and nothing left behind: no process,
// no mount, no cgroup, no file.
func TestBadInput(t *testing.T) {
	asRootAndUser(t, func(t *testing.T) {
		// What would outlive Cloche becomes a child of this process.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
		files, err := filepath.Glob("testdata/badinput/*.txtar")
		if err != nil || len(files) == 0 {
			t.Fatal("no scripts: ", err)
		}
		for _, f := range files {
			// One after another: whose child it is could not be told otherwise.
			t.Run("", func(t *testing.T) {
				testscript.Run(t, testscript.Params{
					Files:     []string{f},
					Condition: requiredCondition(t),
					Setup: func(e *testscript.Env) error {
						e.Setenv("UID", strconv.Itoa(os.Geteuid()))
						return nil
					},
					Cmds: map[string]func(*testscript.TestScript, bool, []string){"bad": bad},
				})
			})
		}
	})
}

func bad(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: bad STATUS PATTERN PROGRAM [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)

	before := takeStock(ts)
	cmd := exec.Command(lookPath(ts, args[2]), args[3:]...)
	cmd.Args[0] = args[2]
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ts.Check(cmd.Start())
	guard := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	guard.Stop()
	code := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		code = ee.ExitCode()
	}
	ts.Logf("%s", bytes.ReplaceAll(stderr.Bytes(), []byte(ts.Getenv("WORK")), []byte("$WORK")))

	line, rest, ended := strings.Cut(stderr.String(), "\n")
	switch {
	case code != want:
		ts.Fatalf("exit status %d, want %d", code, want)
	case !ended || rest != "" || !strings.HasPrefix(line, "cloche: ") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }):
		ts.Fatalf("not one plain line of Cloche's: %q", stderr.String())
	case !pattern.MatchString(line):
		ts.Fatalf("no match for %q in %q", args[1], line)
	case stdout.Len() > 0:
		ts.Fatalf("printed %q", stdout.String())
	}
	if left := leftBehind(cmd.Process.Pid); left != "" {
		ts.Fatalf("left behind: %s", left)
	}
	if d := cmp.Diff(before, takeStock(ts)); d != "" {
		ts.Fatalf("not as before (-before +after):\n%s", d)
	}
}

func lookPath(ts *testscript.TestScript, name string) string {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
		p := filepath.Join(dir, name)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p
		}
	}
	ts.Fatalf("no program %s", name)
	return ""
}

// stock is what is there that a run could add to.
type stock struct {
	Mounts string
	Files  map[string]string
}

func takeStock(ts *testscript.TestScript) stock {
	s := stock{Files: map[string]string{}}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	ts.Check(err)
	s.Mounts = string(mounts)
	work := ts.Getenv("WORK")
	_ = filepath.WalkDir(work, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // one that was closed on purpose
		}
		if info, err := e.Info(); err == nil {
			s.Files[p] = fmt.Sprint(info.Mode(), info.Size())
		}
		return nil
	})
	return s
}

// leftBehind names processes and cgroups that a run of Cloche left, or "". The
// kernel takes some away a moment after wait(2) has told of their end.
func leftBehind(pid int) string {
	left := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		left = ""
		for {
			p, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if p > 0 || err == unix.EINTR {
				continue // a dead one
			}
			if err == nil {
				left = "a process that is this one's child now"
			}
			break
		}
		if groups := groupsOf(pid); len(groups) > 0 {
			left = strings.Join(groups, ", ")
		}
		if left == "" {
			return ""
		}
	}
	return left
}
