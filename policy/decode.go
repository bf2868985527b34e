package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// decoder lays one file over a policy.
type decoder struct {
	file   string
	p      *Policy
	claims map[string]int // what this file has said already, and on which line

	inherited map[string]int // clean paths of inherited mounts, and their place in p.Mounts
}

// maxItems bounds the lists that nobody needs long, so that a hostile file
// is refused at once. Lists of mounts are bounded by the file's size alone.
const maxItems = 4096

// decode lays the file's tree over p. Keys that hold lists add to what is
// there, the others replace it.
func decode(file string, root *document.Value, p *Policy, load Loader) error {
	d := &decoder{file: file, p: p, claims: make(map[string]int)}
	if err := d.checkKeys(root); err != nil {
		return err
	}
	for i := range settings {
		if err := d.setting(root, &settings[i]); err != nil {
			return err
		}
	}
	if u := root.Get("user"); u != nil && u.Get("mode") != nil && u.Get("mode").Text == string(UserSingle) && u.Get("uid") == nil {
		return d.fail(u.Get("mode").Line, "user.mode", errors.New(`"single" needs a uid, such as uid = 1000`))
	}
	if err := d.loadSeccomp(lookup(root, "seccomp.profile"), load); err != nil {
		return err
	}
	if err := d.seccomp(root.Get("seccomp")); err != nil {
		return err
	}
	if err := d.rlimits(root.Get("rlimits")); err != nil {
		return err
	}
	if err := d.variables(root.Get("env")); err != nil {
		return err
	}
	if err := d.io(root.Get("limits")); err != nil {
		return err
	}
	return d.filesystem(root.Get("filesystem"))
}

func (d *decoder) fail(line int, key string, err error) error {
	return &Error{File: d.file, Line: line, Key: key, Err: err}
}

func (d *decoder) wrong(v *document.Value, key, want string) error {
	return d.fail(v.Line, key, fmt.Errorf("want %s, not %s", want, v.Kind))
}

func (d *decoder) tooMany(v *document.Value, key string, n int) error {
	return d.fail(v.Line, key, fmt.Errorf("%d entries: at most %d", n, maxItems))
}

func (d *decoder) at(line int) string {
	return (&Error{File: d.file, Line: line}).Where()
}

// claim refuses a second word of one file on the same thing.
func (d *decoder) claim(line int, key, what string) error {
	id := key + "\x00" + what
	if first, ok := d.claims[id]; ok {
		return d.fail(line, key, fmt.Errorf("%s is given twice, first on line %d: keep one", document.Clip(what), first))
	}
	d.claims[id] = line
	return nil
}

// lookup finds a dotted key of at most two parts.
func lookup(root *document.Value, key string) *document.Value {
	section, name := splitKey(key)
	if section == "" {
		return root.Get(name)
	}
	if t := root.Get(section); t != nil {
		return t.Get(name)
	}
	return nil
}

func (d *decoder) setting(root *document.Value, s *setting) error {
	v := lookup(root, s.key)
	switch {
	case v == nil:
		return nil
	case s.add == nil:
		text, err := d.scalar(v, s.key, s.want, s.kinds)
		if err == nil {
			if err = s.set(d.p, text, d.at(v.Line)); err != nil {
				err = d.fail(v.Line, s.key, err)
			}
		}
		return err
	case v.Kind != document.Array:
		return d.wrong(v, s.key, "a list of "+s.want)
	case len(v.Items) > maxItems:
		return d.tooMany(v, s.key, len(v.Items))
	}
	for _, item := range v.Items {
		text, err := d.scalar(item, s.key, s.want, aString)
		if err != nil {
			return err
		}
		name, err := s.add(d.p, text, d.at(item.Line))
		if err != nil {
			return d.fail(item.Line, s.key, err)
		}
		if err := d.claim(item.Line, s.group, name); err != nil {
			return err
		}
	}
	return nil
}

// scalar returns the text of a value of one of the kinds. Integers come out in
// decimal, however they were written.
func (d *decoder) scalar(v *document.Value, key, want string, kinds uint) (string, error) {
	if kinds&(1<<v.Kind) == 0 {
		return "", d.wrong(v, key, want)
	}
	switch v.Kind {
	case document.Integer:
		text, ok := decimal(v.Text)
		if !ok {
			return "", d.fail(v.Line, key, fmt.Errorf("%s is no integer of 64 bits: want %s", document.Clip(v.Text), want))
		}
		return text, nil
	case document.Float:
		if strings.ContainsAny(v.Text, "_eE+in") {
			return "", d.fail(v.Line, key, fmt.Errorf("%s: want %s", document.Clip(v.Text), want))
		}
	}
	return v.Text, nil
}

func (d *decoder) rlimits(t *document.Value) error {
	if t == nil {
		return nil
	}
	const want = `a number, "unlimited" or { soft = …, hard = … }`
	for _, e := range t.Keys {
		key := "rlimits." + e.Key
		text := ""
		var err error
		if e.Val.Kind == document.Table {
			if err := d.only(e.Val, key, "soft", "hard"); err != nil {
				return err
			}
			soft, hard := e.Val.Get("soft"), e.Val.Get("hard")
			if soft == nil || hard == nil {
				return d.fail(e.Line, key, errors.New("want both soft and hard"))
			}
			s, err := d.scalar(soft, key+".soft", `a number or "unlimited"`, aNumber)
			if err != nil {
				return err
			}
			h, err := d.scalar(hard, key+".hard", `a number or "unlimited"`, aNumber)
			if err != nil {
				return err
			}
			text = s + ":" + h
		} else if text, err = d.scalar(e.Val, key, want, aNumber); err != nil {
			return err
		}
		if err := d.p.setRlimit(e.Key, text, d.at(e.Line)); err != nil {
			return d.fail(e.Val.Line, key, err)
		}
	}
	return nil
}

// only refuses keys of an inline table that are not among these.
func (d *decoder) only(t *document.Value, key string, keys ...string) error {
	for _, e := range t.Keys {
		if has(keys, e.Key) {
			continue
		}
		if near := document.Nearest(e.Key, keys); near != "" {
			return d.fail(e.Line, key+"."+document.DottedKey(e.Key), fmt.Errorf("unknown key: did you mean %s?", near))
		}
		return d.fail(e.Line, key+"."+document.DottedKey(e.Key), fmt.Errorf("unknown key: here may be %s", strings.Join(keys, ", ")))
	}
	return nil
}

func (d *decoder) variables(env *document.Value) error {
	if env == nil {
		return nil
	}
	if v, k := env.Get("inherit"), env.Get("keep"); v != nil && v.Text == "true" && k != nil {
		return d.fail(k.Line, "env.keep", fmt.Errorf("inherit = true on line %d keeps everything: give one of the two", v.Line))
	}
	set := env.Get("set")
	if set == nil {
		return nil
	}
	if set.Kind != document.Table {
		return d.wrong(set, "env.set", "a table, such as [env.set]")
	}
	if len(set.Keys) > maxItems {
		return d.tooMany(set, "env.set", len(set.Keys))
	}
	for _, e := range set.Keys {
		key := "env.set." + document.DottedKey(e.Key)
		text, err := d.scalar(e.Val, key, "a string", aString)
		if err != nil {
			return err
		}
		if err := d.p.setEnv(e.Key, text, d.at(e.Line)); err != nil {
			return d.fail(e.Line, key, err)
		}
		if err := d.claim(e.Line, "env", e.Key); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) io(limits *document.Value) error {
	if limits == nil {
		return nil
	}
	v := limits.Get("io")
	if v == nil {
		return nil
	}
	const key, want = "limits.io", `tables such as { device = "/dev/sda", rbps = "10M" }`
	if v.Kind != document.Array {
		return d.wrong(v, key, "a list of "+want)
	}
	if len(v.Items) > maxItems {
		return d.tooMany(v, key, len(v.Items))
	}
	forgiven := has(d.p.Limits.WhereAvailable, "io") && d.claims["limits.where-available\x00io"] != 0
	for _, item := range v.Items {
		if item.Kind != document.Table {
			return d.wrong(item, key, want)
		}
		if err := d.only(item, key, "device", "rbps", "wbps", "riops", "wiops"); err != nil {
			return err
		}
		var l IOLimit
		for _, e := range item.Keys {
			in := key + "." + e.Key
			text, err := d.scalar(e.Val, in, want, aNumber)
			if err == nil && e.Key == "device" {
				l.Device = text
			} else if err == nil {
				if err = l.setIO(e.Key, text); err != nil {
					err = d.fail(e.Line, in, err)
				}
			}
			if err != nil {
				return err
			}
		}
		if err := d.p.addIO(l, d.at(item.Line)); err != nil {
			return d.fail(item.Line, key, err)
		}
		if err := d.claim(item.Line, key, l.Device); err != nil {
			return err
		}
	}
	if forgiven { // by this same file, so addIO may not take it back
		d.p.Limits.WhereAvailable = append(d.p.Limits.WhereAvailable, "io")
	}
	return nil
}
