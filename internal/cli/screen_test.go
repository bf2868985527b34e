package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// screen is a terminal of tmux(1), which draws what a person would see, with a shell in it that
// leaves the terminal as what it ran has left it.
type screen struct {
	t      *testing.T
	socket string
	dir    string // where the shell is
}

const outside = "outside> "

func newScreen(t *testing.T) *screen {
	t.Helper()
	needs.Programs(t, "tmux", "vim.tiny", "top")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, dir: t.TempDir()}
	s.socket = filepath.Join(s.dir, ".tmux")
	if err := os.Symlink(exe, filepath.Join(s.dir, "cloche")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.command("kill-server").Run() })
	start := s.command("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", s.dir, "sh")
	start.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "ENV=", "PS1="+outside, "PATH="+s.dir+":"+os.Getenv("PATH"))
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	s.shows(outside)
	s.line("stty -g >before")
	return s
}

func (s *screen) command(args ...string) *exec.Cmd {
	return exec.Command("tmux", append([]string{"-S", s.socket}, args...)...)
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// keys types keys as tmux calls them, or text.
func (s *screen) keys(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys", "--"}, keys...)...)
}

func (s *screen) line(text string) {
	s.t.Helper()
	s.tmux("send-keys", "-l", "--", text)
	s.keys("Enter")
}

func (s *screen) picture() string { return strings.TrimRight(s.tmux("capture-pane", "-p"), "\n") }

// until waits until what is on the screen is right.
func (s *screen) until(what string, right func(picture string) bool) {
	s.t.Helper()
	var last string
	for end := time.Now().Add(longPatience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if last = s.picture(); right(last) {
			return
		}
	}
	s.t.Fatalf("%s: not on the screen:\n%s", what, last)
}

func (s *screen) shows(text string) {
	s.t.Helper()
	s.until(text, func(p string) bool { return strings.Contains(p, strings.TrimRight(text, " ")) })
}

// back waits for the shell outside, whose terminal is as it was before.
func (s *screen) back() {
	s.t.Helper()
	s.until("the prompt", func(p string) bool { return strings.HasSuffix(p, "\n"+strings.TrimRight(outside, " ")) })
	s.line(`stty -g >after; clear; cmp before after && echo the s''ame`)
	s.shows("the same")
	if full := strings.TrimSpace(s.tmux("display-message", "-p", "#{alternate_on}")); full != "0" {
		s.t.Errorf("the screen is the program's still: %s", full)
	}
	s.line("clear")
}

// left waits for the shell when a program has not left the screen that it has filled, and does so.
func (s *screen) left() {
	s.t.Helper()
	s.until("the shell", func(string) bool {
		return strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_current_command}")) == "sh"
	})
	s.line(`stty -g >after; printf '\033[?1049l'; clear; cmp before after && echo the s''ame`)
	s.shows("the same")
	s.line("clear")
}

// resize gives the window another size.
func (s *screen) resize(cols, rows int) {
	s.t.Helper()
	s.tmux("resize-window", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows))
}

// inserted types text in vim. Ctrl-C ends that, and drops what was typed after it and not read yet.
func (s *screen) inserted(text string) {
	s.t.Helper()
	s.keys("A" + text)
	s.until(text, func(p string) bool { return strings.Contains(p, text) && strings.Contains(p, "INSERT") })
	s.keys("C-c")
	s.until("the end of it", func(p string) bool { return !strings.Contains(p, "INSERT") })
}

// TestFullScreen drives programs that fill the screen.
func TestFullScreen(t *testing.T) { asRootAndUser(t, fullScreen) }

func fullScreen(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	t.Setenv("SHELL", "/bin/sh")
	t.Setenv("TERM", "")
	background(t, "box", "--", "sleep", "1000")
	t.Setenv("TERM", "screen")
	s := newScreen(t)
	const vim = "vim.tiny -u NONE -N"

	// An editor: size, Ctrl-C, Ctrl-\ and Ctrl-Z are its own, and it leaves the screen as it was.
	s.line("cloche run -it --write . -- " + vim + " text")
	s.shows(`"text" [New]`)
	s.inserted("hello")
	s.line(":set lines? columns?")
	s.until("lines=24 and columns=80", func(p string) bool { return strings.Contains(p, "lines=24") && strings.Contains(p, "columns=80") })
	s.keys("Enter")
	s.resize(100, 30)
	s.until("30 lines", func(p string) bool { return strings.Count(p, "\n~") >= 27 })
	s.line(":set lines? columns?")
	s.until("lines=30 and columns=100", func(p string) bool { return strings.Contains(p, "lines=30") && strings.Contains(p, "columns=100") })
	s.keys("Enter")
	s.keys("C-z") // it suspends itself: the shell outside sees its job stop
	s.shows("Stopped")
	s.back()
	s.line("fg")
	s.until("the text", func(p string) bool { return strings.HasPrefix(p, "hello\n~") })
	s.line(":wq")
	s.back()
	if text, err := os.ReadFile(filepath.Join(s.dir, "text")); err != nil || string(text) != "hello\n" {
		t.Errorf("the file: %q, %v", text, err)
	}

	// A table that is drawn again and again, in a sandbox that was started without a terminal: Ctrl-Z, Ctrl-C.
	s.line("cloche exec -it box -- top -d 1")
	s.until("the table", func(p string) bool { return strings.Contains(p, "PID USER") && strings.Contains(p, "sleep") })
	s.keys("C-z")
	s.shows("Stopped")
	s.back()
	s.line("fg")
	s.until("the table", func(p string) bool { return strings.Contains(p, "PID USER") && strings.Contains(p, "sleep") })
	s.keys("C-c")
	s.back()
	s.line(`cloche exec -it box -- sh -c "echo in''side; exec sleep 1000"; echo co''de=$?`)
	s.shows("inside")
	s.keys("C-\\")
	s.shows("code=131")
	s.back()

	// An editor in the background, which is left and found again on a screen of the same size.
	background(t, "editor", "-t", "--", "vim.tiny", "-u", "NONE", "-N")
	for _, word := range []string{"one", "two"} {
		s.line("cloche attach editor")
		s.until("the editor", func(p string) bool { return strings.Count(p, "\n~") >= 27 })
		s.inserted(word)
		s.keys("C-p", "C-q")
		s.left()
	}
	s.line("cloche attach editor")
	s.shows("onetwo")
	ok(t, "rm", "--force", "editor")
	s.left()
}
