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

// InitProgram is the filter of Cloche's own pid 1; reported: of one that makes itself dumpable at the
// end, as its pid was told.
func InitProgram(goarch string, reported bool) []unix.SockFilter {
	switch {
	case goarch == "arm64" && reported:
		return filterReportedARM64[:]
	case goarch == "arm64":
		return filterInitARM64[:]
	case reported:
		return filterReportedAMD64[:]
	}
	return filterInitAMD64[:]
}

// CompileInit compiles the filter of Cloche's own pid 1, for go generate.
func CompileInit(a Arch, reported bool) ([]unix.SockFilter, error) {
	return Compile(initProfile(reported), a)
}
