package bundle

import (
	"encoding/json"
	"os"
	"slices"
)

// Docker reads Docker's default seccomp profile and makes of it what Docker writes into
// config.json for a container without capabilities on x86-64.
func Docker(file string) (json.RawMessage, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	type conditions struct {
		Caps      []string `json:"caps"`
		Arches    []string `json:"arches"`
		MinKernel string   `json:"minKernel"`
	}
	var p struct {
		DefaultAction   string `json:"defaultAction"`
		DefaultErrnoRet *uint  `json:"defaultErrnoRet"`
		Syscalls        []struct {
			Names    []string         `json:"names"`
			Action   string           `json:"action"`
			ErrnoRet *uint            `json:"errnoRet"`
			Args     []map[string]any `json:"args"`
			Includes conditions       `json:"includes"`
			Excludes conditions       `json:"excludes"`
		} `json:"syscalls"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	type object = map[string]any
	var calls []object
	for _, s := range p.Syscalls {
		if len(s.Includes.Caps) > 0 || len(s.Includes.Arches) > 0 && !slices.Contains(s.Includes.Arches, "amd64") || slices.Contains(s.Excludes.Arches, "amd64") {
			continue
		}
		call := object{"names": s.Names, "action": s.Action}
		if s.ErrnoRet != nil {
			call["errnoRet"] = *s.ErrnoRet
		}
		if s.Args != nil {
			call["args"] = s.Args
		}
		calls = append(calls, call)
	}
	return json.Marshal(object{
		"defaultAction": p.DefaultAction, "defaultErrnoRet": p.DefaultErrnoRet,
		"architectures": []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}, "syscalls": calls,
	})
}
