package policy

import _ "embed" // the profiles' text

//go:generate go run -tags bootstrap ./internal/genbuiltin builtin_generated.go

// The built-in profiles as people read them. What a start-up uses is
// builtin_generated.go, made from these by `go generate`: reading TOML would
// cost more than all the rest of preparing a policy.
var (
	//go:embed profiles/default.toml
	defaultFile string
	//go:embed profiles/build.toml
	buildFile string
	//go:embed profiles/judge.toml
	judgeFile string
	//go:embed profiles/open.toml
	openFile string
)

// Builtins returns the names of the built-in profiles, the default one first.
func Builtins() []string { return []string{"default", "build", "judge", "open"} }

// BuiltinFile returns the TOML text of a built-in profile.
func BuiltinFile(name string) (text string, ok bool) {
	switch name {
	case "default":
		return defaultFile, true
	case "build":
		return buildFile, true
	case "judge":
		return judgeFile, true
	case "open":
		return openFile, true
	}
	return "", false
}

// Builtin returns a built-in profile, resolved but not expanded. The caller
// may change what it gets: every call makes a new one. It reads no TOML.
func Builtin(name string) (p *Policy, ok bool) {
	switch name {
	case "default":
		p = builtinDefault()
	case "build":
		p = builtinBuild()
	case "judge":
		p = builtinJudge()
	case "open":
		p = builtinOpen()
	}
	return p, p != nil
}
