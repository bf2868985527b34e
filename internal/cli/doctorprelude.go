package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// preludeRow tells whether a plain `cloche run` begins before the Go runtime: it
// starts one, and looks for the descriptor that only a prelude has.
func preludeRow() host.Row {
	r := host.Row{Group: "sandbox", Name: "start before Go", Status: host.Missing, Remedy: "`make install`, on this machine"}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil || !launcher.HasPrelude(exe) {
		r.Cause = "this executable has no prelude, so a plain `cloche run` takes twice the time to start"
		return r
	}
	taken, err := takesPrelude()
	switch {
	case err != nil:
		r.Cause, r.Remedy = "a plain `cloche run` does not start: "+err.Error(), "see the rows above"
	case !taken:
		r.Cause = "kernel, system directories or cgroups are otherwise than where the prelude was made, so the Go program decides each time"
	default:
		r = host.Row{Group: r.Group, Name: r.Name, Status: host.Works, Detail: "a plain `cloche run`"}
	}
	return r
}

func takesPrelude() (bool, error) {
	cmd := exec.Command("/proc/self/exe", "run", "--", "cat")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/"}
	for _, dir := range []string{"/srv", "/mnt", "/media", "/home"} { // it leaves alone what the policy has
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			cmd.Dir = dir
		}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return false, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	_, _ = in.Write([]byte("\n"))
	_, err = bufio.NewReader(out).ReadByte() // it runs now
	_, other := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", cmd.Process.Pid, plan.PreludeExeFD))
	in.Close()
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if s := strings.TrimSpace(stderr.String()); err != nil && s != "" {
		return false, errors.New(s)
	}
	return other == nil, err
}
