package policy

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// Loader reads the policy file that an extends names, or the file of a seccomp
// profile. It is given a path, or a name that is no built-in profile's; file is what the result is called in
// messages and what its own relative extends start from.
type Loader func(name string) (file string, data []byte, err error)

// maxFile is the largest policy file, in bytes, that is read. People write
// a few KiB; what is over a MiB is some other file.
const maxFile = 1 << 20

// maxExtends bounds a chain of files that extend each other.
const maxExtends = 16

// Parse reads the TOML form of a policy. Its extends may name built-in
// profiles only; Resolve reads other files too. What is not a key of a policy,
// has the wrong type, is given twice or can't be meant is an error of
// type *Error, which names the file, the line and the key.
func Parse(file string, data []byte) (*Policy, error) { return Resolve(file, data, nil) }

// Resolve is Parse for a file that may extend others, which load reads. A
// path (with a slash, or ending in .toml) is relative to the file that names
// it. The result is not expanded and not yet valid: see Expand and Validate.
//
// Lists add to what is inherited, and of two entries for one path the later
// holds; every other key replaces what is inherited, keys that are not
// given stay. A limit that is set must hold, also where the inherited policy
// lets it be left out. Names and descriptions are not inherited.
func Resolve(file string, data []byte, load Loader) (*Policy, error) {
	return resolve(file, data, load, nil)
}

func resolve(file string, data []byte, load Loader, chain []string) (*Policy, error) {
	chain = append(chain, file)
	root, err := readTree(file, data)
	if err != nil {
		return nil, err
	}
	p := New()
	if v := root.Get("extends"); v != nil {
		fail := func(err error) error { return &Error{File: file, Line: v.Line, Key: "extends", Err: err} }
		if v.Kind != document.String {
			return nil, fail(fmt.Errorf("want the name of a profile or the path of a file, not %s", v.Kind))
		}
		base, text, err := loadBase(file, v.Text, load)
		if err != nil {
			return nil, fail(err)
		}
		if has(chain, base) {
			return nil, fail(fmt.Errorf("a circle: %s → %s", strings.Join(chain, " → "), base))
		}
		if len(chain) >= maxExtends {
			return nil, fail(fmt.Errorf("more than %d files extend each other", maxExtends))
		}
		if p, err = resolve(base, text, load, chain); err != nil {
			return nil, err
		}
		p.Name, p.Description = "", ""
	}
	if err := decode(file, root, p, load); err != nil {
		return nil, err
	}
	return p, nil
}

// readTree parses a file. The errors are of type *Error.
func readTree(file string, data []byte) (*document.Value, error) {
	if len(data) > maxFile {
		return nil, &Error{File: file, Err: fmt.Errorf("%d bytes: a policy file may have 1 MiB; is this the right file?", len(data))}
	}
	return document.ReadTOML(file, data)
}

// loadBase finds what an extends names.
func loadBase(file, name string, load Loader) (string, []byte, error) {
	if text, ok := BuiltinFile(name); ok {
		return name + ".toml", []byte(text), nil
	}
	if err := checkPath(name); err != nil {
		return "", nil, err
	}
	isPath := strings.Contains(name, "/") || strings.HasSuffix(name, ".toml")
	if load == nil {
		if isPath {
			return "", nil, fmt.Errorf("%s is a file, and here only built-in profiles are read: %s", document.Clip(name), strings.Join(Builtins(), ", "))
		}
		return "", nil, unknownProfile(name)
	}
	if isPath && name[0] != '/' {
		name = path.Join(path.Dir(file), name)
	}
	base, data, err := load(name)
	switch {
	case err == nil && base == "":
		return "", nil, errors.New("the file has no name")
	case err == nil:
		return base, data, nil
	case isPath:
		return "", nil, fmt.Errorf("can't read %s: %w", document.Clip(name), err)
	}
	return "", nil, fmt.Errorf("%w (%w)", unknownProfile(name), err)
}

func unknownProfile(name string) error { return document.OneOf("profile", name, Builtins()) }
