package attack

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A directory that is open leads out of any root, also as the working directory: ".."
// goes up from it to the host's.

var fchdirHandedIn = Attack{
	Name: "fchdir-handed-in", Group: "descriptors", Reference: "fchdir(2), chroot(2)",
	Tries: "make a directory outside that was handed in the working directory, and read beside it",
	Stops: []Stop{{Landlock, "EACCES"}},
	Outside: func(o *Outside) error {
		f, err := o.besideSecret()
		o.Files = append(o.Files, f)
		o.TellInt("fd", 3)
		return err
	},
	Inside: (*Inside).readUpFrom,
}

// besideSecret opens a directory that has a secret beside it.
func (o *Outside) besideSecret() (*os.File, error) {
	sub := filepath.Join(o.Dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		return nil, err
	}
	if _, err := o.SecretFile("beside"); err != nil {
		return nil, err
	}
	return os.Open(sub)
}

func (in *Inside) readUpFrom() error {
	if err := unix.Fchdir(in.Int("fd")); err != nil {
		return Failed(err)
	}
	return in.TakeFile("../beside")
}
