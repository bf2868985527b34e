package cli

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const rawVariable = "CLOCHE_TEST_RAW"

// TestRawHandler needs no sandbox: the handler is machine code of its own for each
// architecture.
func TestRawHandler(t *testing.T) {
	if os.Getenv(rawVariable) != "" {
		printSignals()
		os.Exit(0)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `trap '' USR2 QUIT; exec "$0" -test.run=^TestRawHandler$`, exe)
	cmd.Env = append(os.Environ(), rawVariable+"=1")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	out := bufio.NewReader(pipe)
	line := func() string {
		s, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", s, err)
		}
		return strings.TrimSpace(s)
	}
	if got, want := line(), fmt.Sprintf("ignored %#x", inheritedIgnored|1<<(unix.SIGUSR2-1)|1<<(unix.SIGQUIT-1)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for s := syscall.Signal(1); s <= maxSignal; s++ {
		switch s {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGUSR2, unix.SIGQUIT:
			continue
		}
		if ignoredByCaller(s) {
			continue // whoever runs the tests
		}
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if got := line(); got != strconv.Itoa(int(s)) {
			t.Fatalf("sent %d, came %q", int(s), got)
		}
	}
	// What the kernel itself reports is the runtime's as ever.
	if err := cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if line(); line() != "recovered" {
		t.Error("a fault in Go is no panic any more")
	}
}

func printSignals() {
	fmt.Printf("ignored %#x\n", inheritedIgnored)
	keepIgnored()
	raw, err := catchRaw(false)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Meanwhile the runtime sends SIGURG to itself.
	go func() {
		for n := 0; ; n++ {
			if n%1000 == 0 {
				runtime.GC()
			}
		}
	}()
	fault := func() {
		defer func() {
			if recover() != nil {
				fmt.Println("recovered")
			}
		}()
		var none *int
		*none = 1
	}
	buf := make([]byte, 1)
	usr1 := 0
	time.AfterFunc(time.Minute, func() { os.Exit(1) })
	for {
		if _, err := raw.Read(buf); err != nil {
			return
		}
		fmt.Println(buf[0])
		if buf[0] == byte(unix.SIGUSR1) {
			if usr1++; usr1 == 2 {
				fault()
			}
		}
	}
}
