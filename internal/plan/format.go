package plan

import (
	"bufio"
	"encoding/json"
	"io"
	"strconv"
)

// WriteText writes the plan for a reader: each step with the process that does
// it and the line of policy that asked for it, then its operations.
func (p *Plan) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	step := -1
	for i := range p.Ops {
		if p.Ops[i].Step != step {
			step = p.Ops[i].Step
			s := &p.Steps[step]
			out.WriteString("\n" + string(s.Process) + ": " + s.Name)
			if s.Origin != "" {
				out.WriteString("   (" + s.Origin + ")")
			}
			out.WriteByte('\n')
		}
		n := strconv.Itoa(i)
		for k := len(n); k < 5; k++ {
			out.WriteByte(' ')
		}
		out.WriteString(n + "  " + p.OpText(i) + "\n")
	}
	for _, n := range p.Notes {
		out.WriteString("\nnote: " + n + "\n")
	}
	return out.Flush()
}

type jsonStep struct {
	Process Process  `json:"process"`
	Name    string   `json:"name"`
	Path    string   `json:"path,omitempty"`
	Origin  string   `json:"origin,omitempty"`
	First   int      `json:"first_operation"`
	Ops     []string `json:"operations"`
}

// MarshalJSON is the plan as data: steps with their operations as text.
func (p *Plan) MarshalJSON() ([]byte, error) {
	var steps []jsonStep
	step := -1
	for i := range p.Ops {
		if p.Ops[i].Step != step {
			step = p.Ops[i].Step
			s := &p.Steps[step]
			steps = append(steps, jsonStep{Process: s.Process, Name: s.Name, Path: s.Path, Origin: s.Origin, First: i})
		}
		last := &steps[len(steps)-1]
		last.Ops = append(last.Ops, p.OpText(i))
	}
	return json.Marshal(struct {
		Architecture string     `json:"architecture"`
		Steps        []jsonStep `json:"steps"`
		Notes        []string   `json:"notes,omitempty"`
	}{p.GOARCH, steps, p.Notes})
}
