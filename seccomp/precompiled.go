package seccomp

import "golang.org/x/sys/unix"

// Precompiled is the program of a built-in profile, compiled when this package
// was generated: `cloche run` starts with no compiling. A profile without a
// filter has none. The program is shared and must not be changed.
func Precompiled(name, goarch string) ([]unix.SockFilter, bool) {
	switch name + "/" + goarch {
	case "default/amd64":
		return filterDefaultAMD64[:], true
	case "default/arm64":
		return filterDefaultARM64[:], true
	case "build/amd64":
		return filterBuildAMD64[:], true
	case "build/arm64":
		return filterBuildARM64[:], true
	case "strict/amd64":
		return filterStrictAMD64[:], true
	case "strict/arm64":
		return filterStrictARM64[:], true
	case "none/amd64", "none/arm64":
		return nil, true
	}
	return nil, false
}

// InitProgram is the filter of Cloche's own pid 1.
func InitProgram(goarch string) []unix.SockFilter {
	if goarch == "arm64" {
		return filterInitARM64[:]
	}
	return filterInitAMD64[:]
}

// CompileInit compiles the filter of Cloche's own pid 1, for go generate.
func CompileInit(a Arch) ([]unix.SockFilter, error) { return Compile(initProfile(), a) }
