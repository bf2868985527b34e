package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxConfig is more than any engine writes: a large pod's is 100 KB.
const maxConfig = 8 << 20

// config is a config.json. The filter stays as it was written: it is compiled once
// for all containers that have the same, and read only then.
type config struct {
	specs.Spec
	Linux *linuxConfig `json:"linux"`
}

type linuxConfig struct {
	specs.Linux
	Seccomp json.RawMessage `json:"seccomp"`
}

// readBundle reads the config.json of a bundle, and keeps its text.
func readBundle(dir string) (c *config, text []byte, err error) {
	name := filepath.Join(dir, "config.json")
	text, err = readRegular(name, maxConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("JSON specification file %s not found", name)
	}
	if err != nil {
		return nil, nil, err
	}
	c, err = parseConfig(name, text)
	return c, text, err
}

// readRegular reads a file that has to be one, of at most limit bytes. It goes
// around package os, whose poller would be set up for it.
func readRegular(name string, limit int64) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s: it is not a regular file", name)
	}
	if st.Size > limit {
		return nil, tooLong(name, limit)
	}
	text := make([]byte, 0, st.Size+1)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return text, nil
		}
		if text = text[:len(text)+n]; int64(len(text)) > limit {
			return nil, tooLong(name, limit)
		}
	}
}

// writeNew writes a file that is not there, or nobody's yet.
func writeNew(name string, text []byte) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			unix.Close(fd)
			return &os.PathError{Op: "write", Path: name, Err: err}
		}
		text = text[n:]
	}
	return unix.Close(fd)
}

// readFile is a small file of the kernel's.
func readFile(name string) (string, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return "", &os.PathError{Op: "read", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

func tooLong(name string, limit int64) error {
	return fmt.Errorf("%s: it is longer than the %d MiB that are read", name, limit>>20)
}

// parseConfig reads a config.json. Properties that nobody knows are passed over, as
// the specification wants it.
func parseConfig(name string, text []byte) (*config, error) {
	if err := checkJSON(text); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := new(config)
	if err := decode(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", name, jsonError(text, err))
	}
	return c, nil
}

// jsonError adds the line to an error of the decoder.
func jsonError(text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", lineOf(text, int(syntax.Offset)), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %w", lineOf(text, int(kind.Offset)), err)
	}
	return err
}

func lineOf(text []byte, at int) int {
	return 1 + bytes.Count(text[:min(max(at, 0), len(text))], []byte{'\n'})
}

// maxDepth is deeper than a config.json can be.
const maxDepth = 32

// freeKeys are the objects whose keys are data. Of all others two keys that differ
// in case alone are the same to a decoder of Go, and two to others.
var freeKeys = map[string]bool{"annotations": true, "sysctl": true, "unified": true, "netDevices": true, "timeOffsets": true}

// object is one that checkJSON is in, or a list.
type object struct {
	keys [][]byte
	seen map[string]bool // the same, when there are many
	free bool
	list bool
}

// smallestFold is the same for all characters that differ in case alone, as
// bytes.EqualFold and the decoder have it.
func smallestFold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

// has reports whether a key was there already, and keeps it.
func (o *object) has(key []byte) bool {
	fold := func(k []byte) string {
		if o.free {
			return string(k)
		}
		return strings.Map(smallestFold, string(k))
	}
	if o.seen != nil {
		k := fold(key)
		was := o.seen[k]
		o.seen[k] = true
		return was
	}
	for _, k := range o.keys {
		if bytes.Equal(k, key) || !o.free && bytes.EqualFold(k, key) {
			return true
		}
	}
	if o.keys = append(o.keys, key); len(o.keys) > 32 {
		o.seen = make(map[string]bool, 2*len(o.keys))
		for _, k := range o.keys {
			o.seen[fold(k)] = true
		}
	}
	return false
}

// escape is the length of an escape in a string; two of \uXXXX can be one
// character, and ok is false where one of these is alone.
func escape(text []byte) (n int, ok bool) {
	unit := func(at int) (rune, bool) {
		if len(text) < at+6 || text[at] != '\\' || text[at+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(text[at+2:at+6]), 16, 16)
		return rune(n), err == nil
	}
	first, is := unit(0)
	switch {
	case !is:
		return min(2, len(text)), true
	case !utf16.IsSurrogate(first):
		return 6, true
	}
	second, _ := unit(6)
	return min(12, len(text)), utf16.DecodeRune(first, second) != utf8.RuneError
}

// checkJSON refuses what readers of JSON understand differently or not at all: a key
// that an object has twice, a NUL, and what is nested for its own sake. Where the
// text is no JSON it says nothing: the decoder does.
func checkJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("it is not UTF-8: what is not would be read as another character")
	}
	var stack []object
	var last []byte // key that the next value belongs to
	isKey := false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			if len(stack) == maxDepth {
				return fmt.Errorf("line %d: it is nested more than %d deep", lineOf(text, i), maxDepth)
			}
			stack = append(stack, object{free: freeKeys[string(last)], list: text[i] == '['})
			isKey, last = text[i] == '{', nil
		case '}', ']':
			if len(stack) == 0 {
				return nil
			}
			stack = stack[:len(stack)-1]
			isKey = false
		case ',':
			isKey = len(stack) > 0 && !stack[len(stack)-1].list
		case ':':
			isKey = false
		case '"':
			begin := i + 1
			escaped := false
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					escaped = true
					if bytes.HasPrefix(text[i:], []byte(`\u0000`)) {
						return fmt.Errorf("line %d: a NUL is in a string: no path, name or argument can hold one", lineOf(text, i))
					}
					n, ok := escape(text[i:])
					if !ok {
						return fmt.Errorf("line %d: %s is half a character", lineOf(text, i), text[i:i+n])
					}
					i += n - 1
				}
			}
			if !isKey || i >= len(text) || len(stack) == 0 {
				continue
			}
			o := &stack[len(stack)-1]
			key := text[begin:i]
			if escaped {
				var s string
				if json.Unmarshal(text[begin-1:i+1], &s) != nil {
					continue
				}
				key = []byte(s)
			}
			last = key
			if o.has(key) {
				return fmt.Errorf("line %d: the key %q is there twice", lineOf(text, i), key)
			}
		}
	}
	return nil
}
