package tree

import (
	"runtime"
	"runtime/debug"
)

// version is what the Go toolchain recorded: a module version, or the commit.
func version() string {
	v, revision, dirty := "devel", "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if m := info.Main.Version; m != "" && m != "(devel)" {
			v = m
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					dirty = ", modified"
				}
			}
		}
	}
	if revision != "" {
		v += " (" + revision[:min(12, len(revision))] + dirty + ")"
	}
	return "cloche " + v + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
