package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

func init() {
	// confine: a program with many threads confines itself and tries, on each of
	// them, what the policy forbids.
	helpers["confine"] = func() {
		const threads = 12
		secret := os.Getenv("SECRET")
		var ready, done sync.WaitGroup
		goOn := make(chan struct{})
		ready.Add(threads)
		results := make([]string, threads)
		for i := range threads {
			done.Go(func() {
				runtime.LockOSThread()
				ready.Done()
				<-goOn
				_, readErr := os.ReadFile(secret)
				_, _, personalityErr := unix.RawSyscall(unix.SYS_PERSONALITY, 0x0040000, 0, 0) // ADDR_NO_RANDOMIZE
				_, _, userErr := unix.RawSyscall(unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0)
				_, okErr := os.ReadFile("/etc/passwd")
				results[i] = fmt.Sprint(readErr != nil, personalityErr, userErr, okErr)
			})
		}
		ready.Wait()
		if os.Getenv("UNCONFINED") == "" {
			p, _ := policy.Builtin("default")
			if err := sandbox.Confine(p); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		close(goOn)
		done.Wait()
		for _, r := range results {
			fmt.Println(r)
		}
		fmt.Println("end")
	}
}

// TestConfine: Landlock and the filter hold on every thread of a Go program
// that confines itself, and would not without Confine.
func TestConfine(t *testing.T) {
	dir := t.TempDir()
	secret := dir + "/secret"
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(env ...string) string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(append(os.Environ(), role+"=confine", "SECRET="+secret), env...)
		cmd.Dir = "/usr"
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	got := run()
	want := "true operation not permitted operation not permitted <nil>\n"
	if strings.Count(got, want) != 12 || !strings.HasSuffix(got, "end\n") {
		t.Errorf("confined:\n%s", got)
	}
	if got := run("UNCONFINED=1"); strings.Contains(got, want) {
		t.Errorf("the same would have failed without Confine:\n%s", got)
	}
}
