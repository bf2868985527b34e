// Command bwrap times Cloche's bwrap beside bubblewrap, by turns, with the command lines of its
// callers and one of 500 binds, and measures the processes that stay: the one outside and pid 1.
//
//	go run ./bench/bwrap [-rounds N] [-json FILE] [-check]
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/bench/turns"
)

func main() { turns.Main("bench/bwrap", 100, run) }

// system is a root of the distribution's /usr.
const system = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 "

// lines are command lines, with what bubblewrap's median may be multiplied by. @ is a
// directory of the benchmark's own.
var lines = []struct {
	name, what, line string
	limit            float64
}{
	{"agent", "as @anthropic-ai/sandbox-runtime calls it", "--new-session --die-with-parent --unshare-net --bind @/sock @/sock --setenv SANDBOX_RUNTIME 1 --setenv TMPDIR /tmp/claude --ro-bind / / --bind @/project @/project " +
		"--ro-bind /dev/null @/project/.gitconfig --ro-bind /dev/null @/project/.bashrc --ro-bind /dev/null @/project/.profile --ro-bind /dev/null /etc/shadow --dev /dev --unshare-pid --unshare-user --cap-drop ALL --proc /proc", 0.75},
	{"flatpak", "as Flatpak calls it, without descriptors", "--ro-bind /usr /usr --proc /proc --unshare-pid --unshare-ipc --unshare-net --dir /tmp --dir /var/tmp --dir /run/host --perms 0700 --dir /run/user/0 --symlink ../run /var/run " +
		"--ro-bind /sys/block /sys/block --ro-bind /sys/bus /sys/bus --ro-bind /sys/class /sys/class --ro-bind /sys/dev /sys/dev --ro-bind /sys/devices /sys/devices --bind @/project /var/cache --bind @/project /var/data --bind @/project /var/config " +
		"--symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --ro-bind /etc/resolv.conf /etc/resolv.conf --ro-bind /etc/hosts /etc/hosts --dev /dev --bind @/project /tmp --tmpfs /tmp/.X11-unix --tmpfs /run/host/fonts --remount-ro /run/host/fonts --die-with-parent", 0.75},
	{"all", "--unshare-all --ro-bind / / with /proc, /dev and /tmp", "--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp", 0.75},
	{"many", "500 binds", system, 0.40},
}

func run(rounds int) (*turns.Report, error) {
	root, err := turns.Repository()
	if err != nil {
		return nil, err
	}
	cloche := filepath.Join(root, "bin", "cloche")
	if _, err := os.Stat(cloche); err != nil {
		return nil, fmt.Errorf("%w; `make build` makes it", err)
	}
	theirs, err := exec.LookPath("bwrap")
	if err != nil {
		return nil, errors.New("bubblewrap is not installed")
	}
	dir, err := os.MkdirTemp("", "cloche-bench-bwrap-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ours := filepath.Join(dir, "bwrap")
	if err := os.Symlink(cloche, ours); err != nil {
		return nil, err
	}
	many, err := places(dir)
	if err != nil {
		return nil, err
	}
	var list []*turns.Contender
	var goals []turns.Ratio
	for _, l := range lines {
		args := strings.Fields(strings.ReplaceAll(l.line, "@", dir))
		if l.name == "many" {
			args = append(args, many...)
		}
		args = append(args, "/bin/true")
		for program, path := range map[string]string{"cloche": ours, "bubblewrap": theirs} {
			list = append(list, &turns.Contender{Name: program + " " + l.name, What: l.what, Argv: append([]string{path}, args...), Seldom: l.name == "many"})
		}
		goals = append(goals, turns.Ratio{A: "cloche " + l.name, B: "bubblewrap " + l.name, Limit: l.limit})
	}
	r, err := turns.Run(list, rounds)
	if err != nil {
		return nil, err
	}
	r.Judge(goals...)
	var kept [2][]turns.Memory
	for i, path := range []string{ours, theirs} {
		if kept[i], err = memory([]string{"cloche", "bubblewrap"}[i], path); err != nil {
			return nil, err
		}
		r.Memory = append(r.Memory, kept[i]...)
	}
	for i, m := range kept[0] {
		limit := kept[1][i].RSS
		r.Goals = append(r.Goals, turns.Goal{Name: m.Name + ", KiB", Limit: float64(limit), Got: float64(m.RSS), Met: m.RSS <= limit})
	}
	return r, nil
}

// places makes what the command lines bind, and is 500 of them.
func places(dir string) (many []string, err error) {
	for i := range 500 {
		from := filepath.Join(dir, "many", strconv.Itoa(i))
		if err := os.MkdirAll(from, 0o755); err != nil {
			return nil, err
		}
		many = append(many, "--ro-bind", from, "/m/"+strconv.Itoa(i))
	}
	if err := os.Mkdir(filepath.Join(dir, "project"), 0o755); err != nil {
		return nil, err
	}
	for _, name := range []string{"sock", "project/.gitconfig", "project/.bashrc", "project/.profile"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			return nil, err
		}
	}
	return many, nil
}

// memory is what the process outside and pid 1 hold while a command waits.
func memory(name, path string) ([]turns.Memory, error) {
	cmd := exec.Command(path, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "sh", "-c", "echo started; exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, err
	}
	time.Sleep(200 * time.Millisecond)
	outside, err := turns.Rollup(name+", the process outside", cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		return nil, fmt.Errorf("children of %s: %w", name, err)
	}
	inside, err := turns.Rollup(name+", pid 1 inside", pid)
	return []turns.Memory{outside, inside}, err
}
