package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// showPlan is `cloche plan`.
func showPlan(inv *invocation, out io.Writer) error {
	if inv.wasGiven("image") {
		return showImage(inv, out)
	}
	p, err := inv.policy()
	if err != nil {
		return err
	}
	inv.args = showCommand(p, inv.args)
	if p, err = expand(p); err != nil {
		return err
	}
	args := inv.args
	if len(args) == 0 {
		args = []string{"CMD"} // no step depends on it
	}
	// As `cloche run` with the same flags would do it: see run. (With --result, which
	// is no flag of this verb, that stays beside the command.)
	skip := len(os.Args) - len(inv.args)
	pr, err := supervise.Explain(&supervise.Spec{
		Policy: p, Args: args, Env: p.Environ(os.Environ()), Name: inv.name, Audit: inv.audit,
		Terminal: terminalStreams(p),
	}, skip)
	if err != nil {
		return err
	}
	if len(inv.Recorded()) == 0 {
		addPreludeNote(pr.Plan)
	}
	if inv.json {
		return writeJSON(out, struct {
			Policy string     `json:"policy"` // TOML
			Notes  []string   `json:"policy_notes,omitempty"`
			Plan   *plan.Plan `json:"plan"`
		}{string(policy.Format(p)), p.Notes, pr.Plan})
	}
	// What Expand had to say is among the plan's notes.
	if _, err := out.Write(policy.Format(p)); err != nil {
		return err
	}
	return pr.Plan.WriteText(out)
}

// addPreludeNote tells where to find the plan of a plain `cloche run` that begins
// before the Go runtime.
func addPreludeNote(p *plan.Plan) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil || !launcher.HasPrelude(exe) {
		return
	}
	name, err := os.Executable()
	if err != nil {
		name = "CLOCHE"
	}
	p.Notes = append(p.Notes, "where nothing is out of the ordinary, the prelude of this executable does the same before the Go runtime starts; to see it: cloche plan --image "+name)
}

// terminalStreams are those of stdin, stdout and stderr that would be a
// terminal of the sandbox's own.
func terminalStreams(p *policy.Policy) [3]bool {
	if !ownTerminal(p, os.Stdin) {
		return [3]bool{}
	}
	always := p.Terminal == policy.TerminalAlways
	return [3]bool{always || isTerminal(os.Stdin), isTerminal(os.Stdout), isTerminal(os.Stderr)}
}

// maxImage is more than any image has: 64 Ki operations of 64 bytes, and data.
const maxImage = 64 << 20

// showImage prints what an executable of `cloche build` does, from its file alone.
func showImage(inv *invocation, out io.Writer) error {
	if len(inv.args) > 0 || len(inv.settings) > 0 || inv.profile != "" || inv.policyFile != "" {
		return errors.New("plan --image: the file has its policy and command in it; give nothing else")
	}
	bad := func(why string) error { return fmt.Errorf("--image %s: %s", clip(inv.image), why) }
	f, err := os.Open(inv.image)
	if err != nil {
		return bad(whyFile(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return bad(whyFile(unix.EISDIR))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxImage))
	if err != nil {
		return bad(whyFile(err))
	}
	listing, err := launcher.Inspect(data)
	if err != nil {
		return bad("it is not an executable made by cloche build: " + err.Error())
	}
	if inv.json {
		return writeJSON(out, listing)
	}
	_, err = io.WriteString(out, listing.String())
	return err
}
