package supervise

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	// The name is the program's own choice.
	line := "7 (a) R 1 (b) S 42 7 7 0 -1 4194560 100 0 0 0 150 25 30 5 20 0 1 0 12345 1000 100 18446744073709551615\n"
	s, ok := parseStat([]byte(line))
	if !ok || s.parent != 42 || s.user != 1800*time.Millisecond || s.system != 300*time.Millisecond {
		t.Errorf("%+v, %v", s, ok)
	}
	for _, bad := range []string{"", ")", "7 (a) S", "7 (a) S 42 7 7 0 -1 4194560 100 0 0 0 x 25 30 5 20", "7 (a) S 42 7 7 0 -1 4194560 100 0 0 0 -1 25 30 5"} {
		if s, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}

// TestLook looks at a child of the test, and at what is none.
func TestLook(t *testing.T) {
	cmd := exec.Command("sh", "-c", "cat & cat; wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	u, ok := look(cmd.Process.Pid)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !ok || u.User < 0 || u.MaxRSS <= 0 {
		t.Errorf("%+v, %v", u, ok)
	}
	for _, pid := range []int{0, os.Getpid(), cmd.Process.Pid, 1} {
		if u, ok := look(pid); ok {
			t.Errorf("%d is no child: %+v", pid, u)
		}
	}
}
