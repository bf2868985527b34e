package overlay

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPlaceLosesNothing: somebody replaces a file while ours takes its place. Theirs came later
// than what we looked at, so in the end it is theirs that is there. With a plain rename ours
// may have replaced it.
func TestPlaceLosesNothing(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	// try is one race; it reports whether theirs was lost and whether an exchange was undone or refused.
	try := func(place func(c *Change) error) (lost, refused bool) {
		write("f", "seen")
		st, _, err := stat(fd, "f")
		if err != nil {
			t.Fatal(err)
		}
		write("ours", "ours")
		write("theirs", "theirs")
		write("theirs2", "theirs2")
		want, twice := "theirs", rand.IntN(2) == 0
		if twice {
			want = "theirs2"
		}
		wait := time.Duration(rand.IntN(60)) * time.Microsecond
		done := make(chan struct{})
		begin := make(chan struct{})
		go func() {
			defer close(done)
			<-begin
			for end := time.Now().Add(wait); time.Now().Before(end); {
			}
			_ = os.Rename(dir+"/theirs", dir+"/f")
			if twice {
				_ = os.Rename(dir+"/theirs2", dir+"/f")
			}
		}()
		close(begin)
		err = place(&Change{Path: "f", Kind: Changed, before: &node{st: st, path: "f"}})
		<-done
		var r refusal
		if err != nil && !errors.As(err, &r) {
			t.Fatal(err)
		}
		text, rerr := os.ReadFile(dir + "/f")
		if rerr != nil {
			t.Fatal(rerr)
		}
		return string(text) != want, err != nil
	}
	naive := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && naive == 0; {
		lost, _ := try(func(c *Change) error {
			now, _, err := stat(fd, "f")
			if err != nil || now.Ino != c.before.st.Ino {
				return errMeanwhile
			}
			time.Sleep(100 * time.Microsecond) // as on a slower machine
			return os.Rename(dir+"/ours", dir+"/f")
		})
		if lost {
			naive++
		}
	}
	if naive == 0 {
		t.Error("a plain rename never lost what was put there meanwhile: the race is none")
	}
	a := &applier{view: &view{tree: tree{base: base{}}}}
	refusals := 0
	for range 500 {
		lost, refused := try(func(c *Change) error {
			a.base["f"] = versionOf(&c.before.st)
			err := a.place(c, fd, "f", "ours")
			_ = removeAll(fd, "ours")
			return err
		})
		if lost {
			t.Fatal("what was put there meanwhile is lost")
		}
		if refused {
			refusals++
		}
	}
	if refusals == 0 {
		t.Error("nothing was ever refused: the race is none")
	}
	t.Logf("%d of 500 refused", refusals)
}
