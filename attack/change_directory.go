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
	Tries:   "make a directory outside that was handed in the working directory, and read beside it",
	Stops:   []Stop{{Landlock, "EACCES"}},
	Outside: (*Outside).besideSecret,
	Inside: func(in *Inside) error {
		if err := unix.Fchdir(3); err != nil {
			return Failed(err)
		}
		return in.TakeFile("../beside")
	},
}

// besideSecret is an Outside: it hands a directory in that has a secret beside it.
func (o *Outside) besideSecret() error {
	sub := filepath.Join(o.Dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		return err
	}
	if _, err := o.SecretFile("beside"); err != nil {
		return err
	}
	f, err := os.Open(sub)
	o.Files = append(o.Files, f)
	return err
}
