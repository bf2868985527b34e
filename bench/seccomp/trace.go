package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// traceText is a histogram of calls: a count, a name, and the arguments of those calls
// that profiles judge by their arguments.
//
//go:embed trace.txt
var traceText string

// traced is the calls of some real programs.
type traced struct {
	list  []tracedCall
	calls int
}

type tracedCall struct {
	data  seccomp.Data
	count int
}

func readTrace() (*traced, error) {
	t := &traced{}
	for n, line := range strings.Split(traceText, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		count, err := strconv.Atoi(fields[0])
		nr, ok := seccomp.AMD64.Number(fields[1])
		if err != nil || !ok || len(fields) > 8 {
			return nil, fmt.Errorf("trace.txt:%d: %q is no count and call", n+1, line)
		}
		c := tracedCall{seccomp.Data{NR: nr, Arch: seccomp.AMD64.Audit}, count}
		for i, f := range fields[2:] {
			if c.data.Args[i], err = strconv.ParseUint(f, 0, 64); err != nil {
				return nil, fmt.Errorf("trace.txt:%d: %w", n+1, err)
			}
		}
		t.list = append(t.list, c)
		t.calls += count
	}
	return t, nil
}

// instructions is how many a program runs for a call, on the average of all, and of
// those that the kernel asks it about.
func (t *traced) instructions(prog []unix.SockFilter) (all, judged float64, calls int) {
	sum, sumJudged := 0, 0
	for _, c := range t.list {
		_, n, err := seccomp.Simulate(prog, c.data)
		if err != nil {
			panic(err)
		}
		sum += n * c.count
		if !seccomp.Cached(prog, seccomp.AMD64, c.data.NR) {
			sumJudged += n * c.count
			calls += c.count
		}
	}
	return float64(sum) / float64(t.calls), float64(sumJudged) / float64(calls), calls
}

// judged is the part of the calls that the kernel asks a program about.
func (t *traced) judged(prog []unix.SockFilter) float64 {
	_, _, calls := t.instructions(prog)
	return float64(calls) / float64(t.calls)
}

// keptArguments are those of calls that profiles judge by them.
var keptArguments = map[string]int{"personality": 1, "socket": 3, "clone": 1, "unshare": 1, "prctl": 1, "ioctl": 2, "clone3": 0}

// programs are what is traced.
var programs = [][]string{
	{"python3", "-c", "import json, re, subprocess, socket; s = socket.socket(); subprocess.run(['true']); print(json.dumps(re.findall('a', 'banana')))"},
	{"sh", "-c", "printf 'int main(void){return 0;}' > a.c && gcc -O2 -o a a.c && ./a"},
	{"sh", "-c", "git init -q . && git add -A && git status --short"},
}

// recordTrace runs the programs under strace(1), and a web server that is asked a few
// hundred times.
func recordTrace(file string) error {
	dir, err := os.MkdirTemp("", "cloche-trace-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	counts := map[string]int{}
	for i, argv := range programs {
		out := filepath.Join(dir, fmt.Sprintf("trace%d", i))
		cmd := exec.Command("strace", append([]string{"-f", "-qq", "-e", "raw=all", "-e", "signal=none", "-o", out}, argv...)...)
		cmd.Dir = dir
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %w: %s", argv, err, msg)
		}
		if err := count(counts, out); err != nil {
			return err
		}
	}
	if err := traceServer(dir, counts); err != nil {
		return err
	}
	lines := make([]string, 0, len(counts))
	for call, n := range counts {
		lines = append(lines, fmt.Sprintf("%d %s", n, call))
	}
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[strings.IndexByte(a, ' '):], b[strings.IndexByte(b, ' '):])
	})
	head := "# Calls of python3, gcc, git status and a web server under load, by `go run ./bench/seccomp -record FILE`.\n"
	return os.WriteFile(file, []byte(head+strings.Join(lines, "\n")+"\n"), 0o644)
}

func traceServer(dir string, counts map[string]int) error {
	const address = "127.0.0.1:18473"
	out := filepath.Join(dir, "server")
	cmd := exec.Command("strace", "-f", "-qq", "-e", "raw=all", "-e", "signal=none", "-o", out, "python3", "-m", "http.server", "--bind", "127.0.0.1", "18473")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for asked, failed := 0, 0; asked < 300; {
		r, err := client.Get("http://" + address + "/a.c")
		if err != nil {
			if failed++; failed > 100 {
				return err
			}
			time.Sleep(50 * time.Millisecond)
			continue
		}
		r.Body.Close()
		asked++
	}
	return count(counts, out)
}

// count adds the calls of a file of strace's.
func count(counts map[string]int, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, rest, _ := strings.Cut(lines.Text(), " ") // the pid
		name, args, ok := strings.Cut(strings.TrimSpace(rest), "(")
		if _, known := seccomp.AMD64.Number(name); !ok || !known {
			continue // the end of a call that was interrupted
		}
		args, _, _ = strings.Cut(args, ")")
		call := name
		for i, a := range strings.Split(args, ", ") {
			if i < keptArguments[name] {
				a, _, _ = strings.Cut(strings.TrimSpace(a), " ")
				if v, err := strconv.ParseUint(strings.TrimPrefix(a, "flags="), 0, 64); err == nil {
					call += " " + strconv.FormatUint(v, 10)
				} else {
					call += " 0"
				}
			}
		}
		counts[call]++
	}
	return lines.Err()
}
