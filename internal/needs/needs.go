// Package needs says what a test cannot do without: where it is missing the test
// skips by name, and where everything is required of the machine
// (CLOCHE_REQUIRE=all, as .ci/run has it) it fails, if the machine could have it. Only tests
// import it, and none skips in another way.
package needs

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Skip skips a test for what is missing on a machine that could have it.
func Skip(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("CLOCHE_REQUIRE") == "all" {
		t.Fatalf("%s, and CLOCHE_REQUIRE=all", missing)
	}
	t.Skip(missing)
}

// Elsewhere skips a test that only another machine, or another user, can run, whatever is
// installed on this one: missing says what that one has. The caller knows that this one
// can't have it; where there is a function for the case, that one finds it out.
func Elsewhere(t testing.TB, missing string) {
	t.Helper()
	t.Skip(missing)
}

// Programs skips a test whose programs are not installed.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	for _, p := range names {
		if _, err := exec.LookPath(p); err != nil {
			Skip(t, p+" is not installed")
		}
	}
}

// Root skips a test for users other than root: who is none can't become it.
func Root(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Elsewhere(t, "needs root: "+why)
	}
}

// Arch skips a test on architectures, of GOARCH, other than these.
func Arch(t testing.TB, why string, archs ...string) {
	t.Helper()
	if !slices.Contains(archs, runtime.GOARCH) {
		Elsewhere(t, "needs "+strings.Join(archs, " or ")+": "+why)
	}
}

// Kernel skips a test for what the kernel was found not to have: one older than since, such
// as "5.19", or built without option, such as "SECCOMP", can't have it. Either may be "".
func Kernel(t testing.TB, missing, since, option string) {
	t.Helper()
	if option != "" && built(option) == no || since != "" && older(since) {
		Elsewhere(t, missing)
	}
	if option != "" && built(option) == unknown && since == "" {
		Elsewhere(t, missing) // nobody can tell
	}
	Skip(t, missing)
}

// Child skips a test that parent runs in a process of its own, with variable in its
// environment, wherever it is not that. It returns the variable's value.
func Child(t testing.TB, variable, parent string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		Elsewhere(t, "needs "+parent+" to start it")
	}
	return v
}

// Long skips a test with -short: why says what takes so long.
func Long(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		Elsewhere(t, "not with -short: "+why)
	}
}

// older reports whether the running kernel is older than a release.
func older(release string) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return slices.Compare(numbers(unix.ByteSliceToString(u.Release[:])), numbers(release)) < 0
}

// numbers are the first two of a release.
func numbers(release string) []int {
	var n []int
	for part := range strings.SplitSeq(release, ".") {
		v := 0
		for _, c := range part {
			if c < '0' || c > '9' {
				break
			}
			v = v*10 + int(c-'0')
		}
		if n = append(n, v); len(n) == 2 {
			break
		}
	}
	return n
}

// answer is one about the kernel's configuration.
type answer int

const (
	unknown answer = iota
	yes
	no
)

// built reports whether the kernel was built with an option, where its configuration can be
// read.
func built(option string) answer {
	config := configuration()
	switch {
	case config == nil:
		return unknown
	case bytes.Contains(config, []byte("\nCONFIG_"+option+"=y")), bytes.Contains(config, []byte("\nCONFIG_"+option+"=m")):
		return yes
	}
	return no
}

func configuration() []byte {
	if f, err := os.Open("/proc/config.gz"); err == nil {
		defer f.Close()
		if z, err := gzip.NewReader(f); err == nil {
			b, _ := io.ReadAll(z)
			return b
		}
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	b, _ := os.ReadFile("/boot/config-" + unix.ByteSliceToString(u.Release[:]))
	return b
}
