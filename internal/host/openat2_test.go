package host_test

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// TestOpenat2 opens a path with ".." in it while something else is renamed. That the
// call itself fails then is what the test stands on.
func TestOpenat2(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"root/a/b", "root/c", "other"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := unix.Open(filepath.Join(top, "root"), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)

	stop := make(chan struct{})
	var renaming sync.WaitGroup
	renaming.Go(func() {
		from, to := filepath.Join(top, "other"), filepath.Join(top, "another")
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := os.Rename(from, to); err != nil {
				t.Error(err)
				return
			}
			from, to = to, from
		}
	})
	defer renaming.Wait()
	defer close(stop)

	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	const name = "a/../a/b/../../a/b/../b/../../c"
	// One processor renames between two calls, hardly ever in one.
	refused, patience := 0, 10*time.Second
	if runtime.NumCPU() == 1 {
		patience = time.Second
	}
	for n, end := 0, time.Now().Add(patience); refused < 20 && time.Now().Before(end); n++ {
		if fd, err := unix.Openat2(root, name, &how); err == nil {
			unix.Close(fd)
		} else if err == unix.EAGAIN {
			refused++
		} else {
			t.Fatal(err)
		}
		fd, err := host.Openat2(root, name, &how)
		if err != nil {
			t.Fatalf("after %d calls, of which %d were refused otherwise: %v", n, refused, err)
		}
		unix.Close(fd)
	}
	if refused == 0 && runtime.NumCPU() > 1 {
		t.Error("openat2 was never refused, so that this test has shown nothing")
	}
}
