package cli

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// showCommand adds the command itself to a policy that shows libraries and no
// programs, which the judge profile is: `cloche run --profile judge -- ./solution`
// would otherwise need the file named twice. It returns the command with
// a path that means the same inside, where the working directory is another.
func showCommand(p *policy.Policy, args []string) []string {
	if p.Name != "judge" || len(args) == 0 || args[0] == "" {
		return args
	}
	file := findProgram(args[0], pathOf(p.Environ(os.Environ())))
	if file == "" {
		return args // the launcher says that there is none
	}
	for i := range p.Mounts {
		if m := &p.Mounts[i]; (m.Kind == policy.Read || m.Kind == policy.Write) && (m.Path == file || below(file, m.Path)) {
			file = ""
			break
		}
	}
	if file != "" {
		p.Mounts = append(p.Mounts, policy.Mount{Kind: policy.Read, Path: file, Origin: "the command"})
	}
	if strings.IndexByte(args[0], '/') < 0 || path.IsAbs(args[0]) {
		return args
	}
	if whole, err := filepath.Abs(args[0]); err == nil {
		return append([]string{whole}, args[1:]...)
	}
	return args
}

// findProgram is where a program is that is looked up in dirs.
func findProgram(name, dirs string) string {
	runs := func(p string) bool {
		info, err := os.Stat(p)
		return err == nil && info.Mode().IsRegular() && unix.Access(p, unix.X_OK) == nil
	}
	if strings.IndexByte(name, '/') >= 0 {
		if whole, err := filepath.Abs(name); err == nil && runs(whole) {
			return whole
		}
		return ""
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		if p := path.Join(dir, name); path.IsAbs(dir) && runs(p) {
			return p
		}
	}
	return ""
}
