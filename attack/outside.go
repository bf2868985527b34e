package attack

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Outside is the side of an attack that the sandbox must protect.
type Outside struct {
	Dir    string // a directory of this attempt's own
	Secret string // what must not be known inside

	// Files are given to the command as descriptors 3, 4, …
	Files []*os.File
	// Env is the caller's environment beyond the program's own, "NAME=value".
	Env []string

	began   time.Time // when what is measured began
	after   chan bool // whether it worked, as somebody saw who looked at the right time
	told    map[string]string
	victims []*Victim
	undo    []func()
}

// newOutside makes a directory for one attempt.
func newOutside() (*Outside, error) {
	dir, err := os.MkdirTemp("", "cloche-attack-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	// An attacker of the same user could read it: its mode is no layer.
	return &Outside{Dir: dir, Secret: "secret-" + rand.Text(), told: map[string]string{}}, nil
}

// NewOutside is one without an attack, and what ends it.
func NewOutside() (*Outside, func(), error) {
	o, err := newOutside()
	if err != nil {
		return nil, nil, err
	}
	return o, func() { _ = o.close() }, nil
}

// Tell tells Inside a value, which it finds by in.Arg.
func (o *Outside) Tell(name, value string) { o.told[name] = value }

// Defer has f called when the attempt is over.
func (o *Outside) Defer(f func()) { o.undo = append(o.undo, f) }

// SecretFile makes a file in Dir that holds the secret.
func (o *Outside) SecretFile(name string) (string, error) {
	path := filepath.Join(o.Dir, name)
	return path, os.WriteFile(path, []byte(o.Secret), 0o600)
}

// Changed reports whether a file made by SecretFile is no longer what it was.
func (o *Outside) Changed(name string) bool {
	data, err := os.ReadFile(filepath.Join(o.Dir, name))
	return err != nil || !bytes.Equal(data, []byte(o.Secret))
}

// Exists reports whether there is a file of that name in Dir.
func (o *Outside) Exists(name string) bool {
	_, err := os.Lstat(filepath.Join(o.Dir, name))
	return err == nil
}

// close ends what was started and removes what was made.
func (o *Outside) close() error {
	for _, f := range o.undo {
		f()
	}
	for _, v := range o.victims {
		v.end()
	}
	for _, f := range o.Files {
		f.Close()
	}
	if o.Dir == "" {
		return errors.New("attack: closed twice")
	}
	dir := o.Dir
	o.Dir = ""
	return os.RemoveAll(dir)
}

// Given are flags with the directory in its place.
func (o *Outside) Given(flags []string) []string {
	out := make([]string, len(flags))
	for i, f := range flags {
		out[i] = strings.ReplaceAll(f, "$DIR", o.Dir)
	}
	return out
}

// TellInt tells Inside a number, which it finds by in.Int.
func (o *Outside) TellInt(name string, n int) { o.Tell(name, strconv.Itoa(n)) }
