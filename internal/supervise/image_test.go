package supervise

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestImageFile: nothing that counts can be changed of an image's file, not by its owner.
func TestImageFile(t *testing.T) {
	f, err := imageFile([]byte("image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.release()
	if _, err := unix.Pwrite(f.fd, []byte("x"), 0); err != unix.EPERM {
		t.Errorf("write: %v", err)
	}
	if err := unix.Ftruncate(f.fd, 0); err != unix.EPERM {
		t.Errorf("truncate: %v", err)
	}
	if err := unix.Fchmod(f.fd, 0o600); f.shared && err != unix.EPERM {
		t.Errorf("it was made not executable, although others start from it: %v", err)
	}
}
