package policy

import (
	"errors"
	"fmt"
	"strings"
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
func decode(file string, root *value, p *Policy) error {
	d := &decoder{file: file, p: p, claims: make(map[string]int)}
	if err := d.checkKeys(root); err != nil {
		return err
	}
	for i := range settings {
		if err := d.setting(root, &settings[i]); err != nil {
			return err
		}
	}
	if u := root.get("user"); u != nil && u.get("mode") != nil && u.get("mode").text == string(UserSingle) && u.get("uid") == nil {
		return d.fail(u.get("mode").line, "user.mode", errors.New(`"single" needs a uid, such as uid = 1000`))
	}
	if err := d.rlimits(root.get("rlimits")); err != nil {
		return err
	}
	if err := d.variables(root.get("env")); err != nil {
		return err
	}
	if err := d.io(root.get("limits")); err != nil {
		return err
	}
	return d.filesystem(root.get("filesystem"))
}

func (d *decoder) fail(line int, key string, err error) error {
	return &Error{File: d.file, Line: line, Key: key, Err: err}
}

func (d *decoder) wrong(v *value, key, want string) error {
	return d.fail(v.line, key, fmt.Errorf("want %s, not %s", want, v.kind))
}

func (d *decoder) tooMany(v *value, key string, n int) error {
	return d.fail(v.line, key, fmt.Errorf("%d entries: at most %d", n, maxItems))
}

func (d *decoder) at(line int) string {
	return (&Error{File: d.file, Line: line}).where()
}

// claim refuses a second word of one file on the same thing.
func (d *decoder) claim(line int, key, what string) error {
	id := key + "\x00" + what
	if first, ok := d.claims[id]; ok {
		return d.fail(line, key, fmt.Errorf("%s is given twice, first on line %d: keep one", clip(what), first))
	}
	d.claims[id] = line
	return nil
}

// lookup finds a dotted key of at most two parts.
func lookup(root *value, key string) *value {
	section, name := splitKey(key)
	if section == "" {
		return root.get(name)
	}
	if t := root.get(section); t != nil {
		return t.get(name)
	}
	return nil
}

func (d *decoder) setting(root *value, s *setting) error {
	v := lookup(root, s.key)
	switch {
	case v == nil:
		return nil
	case s.add == nil:
		text, err := d.scalar(v, s.key, s.want, s.kinds)
		if err == nil {
			if err = s.set(d.p, text, d.at(v.line)); err != nil {
				err = d.fail(v.line, s.key, err)
			}
		}
		return err
	case v.kind != kArray:
		return d.wrong(v, s.key, "a list of "+s.want)
	case len(v.items) > maxItems:
		return d.tooMany(v, s.key, len(v.items))
	}
	for _, item := range v.items {
		text, err := d.scalar(item, s.key, s.want, aString)
		if err != nil {
			return err
		}
		name, err := s.add(d.p, text, d.at(item.line))
		if err != nil {
			return d.fail(item.line, s.key, err)
		}
		if err := d.claim(item.line, s.group, name); err != nil {
			return err
		}
	}
	return nil
}

// scalar returns the text of a value of one of the kinds. Integers come out in
// decimal, however they were written.
func (d *decoder) scalar(v *value, key, want string, kinds uint) (string, error) {
	if kinds&(1<<v.kind) == 0 {
		return "", d.wrong(v, key, want)
	}
	switch v.kind {
	case kInteger:
		text, ok := decimal(v.text)
		if !ok {
			return "", d.fail(v.line, key, fmt.Errorf("%s is no integer of 64 bits: want %s", clip(v.text), want))
		}
		return text, nil
	case kFloat:
		if strings.ContainsAny(v.text, "_eE+in") {
			return "", d.fail(v.line, key, fmt.Errorf("%s: want %s", clip(v.text), want))
		}
	}
	return v.text, nil
}

func (d *decoder) rlimits(t *value) error {
	if t == nil {
		return nil
	}
	const want = `a number, "unlimited" or { soft = …, hard = … }`
	for _, e := range t.keys {
		key := "rlimits." + e.key
		text := ""
		var err error
		if e.val.kind == kTable {
			if err := d.only(e.val, key, "soft", "hard"); err != nil {
				return err
			}
			soft, hard := e.val.get("soft"), e.val.get("hard")
			if soft == nil || hard == nil {
				return d.fail(e.line, key, errors.New("want both soft and hard"))
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
		} else if text, err = d.scalar(e.val, key, want, aNumber); err != nil {
			return err
		}
		if err := d.p.setRlimit(e.key, text, d.at(e.line)); err != nil {
			return d.fail(e.val.line, key, err)
		}
	}
	return nil
}

// only refuses keys of an inline table that are not among these.
func (d *decoder) only(t *value, key string, keys ...string) error {
	for _, e := range t.keys {
		if has(keys, e.key) {
			continue
		}
		if near := nearest(e.key, keys); near != "" {
			return d.fail(e.line, key+"."+dottedKey(e.key), fmt.Errorf("unknown key: did you mean %s?", near))
		}
		return d.fail(e.line, key+"."+dottedKey(e.key), fmt.Errorf("unknown key: here may be %s", strings.Join(keys, ", ")))
	}
	return nil
}

func (d *decoder) variables(env *value) error {
	if env == nil {
		return nil
	}
	if v, k := env.get("inherit"), env.get("keep"); v != nil && v.text == "true" && k != nil {
		return d.fail(k.line, "env.keep", fmt.Errorf("inherit = true on line %d keeps everything: give one of the two", v.line))
	}
	set := env.get("set")
	if set == nil {
		return nil
	}
	if set.kind != kTable {
		return d.wrong(set, "env.set", "a table, such as [env.set]")
	}
	if len(set.keys) > maxItems {
		return d.tooMany(set, "env.set", len(set.keys))
	}
	for _, e := range set.keys {
		key := "env.set." + dottedKey(e.key)
		text, err := d.scalar(e.val, key, "a string", aString)
		if err != nil {
			return err
		}
		if err := d.p.setEnv(e.key, text, d.at(e.line)); err != nil {
			return d.fail(e.line, key, err)
		}
		if err := d.claim(e.line, "env", e.key); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) io(limits *value) error {
	if limits == nil {
		return nil
	}
	v := limits.get("io")
	if v == nil {
		return nil
	}
	const key, want = "limits.io", `tables such as { device = "/dev/sda", rbps = "10M" }`
	if v.kind != kArray {
		return d.wrong(v, key, "a list of "+want)
	}
	if len(v.items) > maxItems {
		return d.tooMany(v, key, len(v.items))
	}
	forgiven := has(d.p.Limits.WhereAvailable, "io") && d.claims["limits.where-available\x00io"] != 0
	for _, item := range v.items {
		if item.kind != kTable {
			return d.wrong(item, key, want)
		}
		if err := d.only(item, key, "device", "rbps", "wbps", "riops", "wiops"); err != nil {
			return err
		}
		var l IOLimit
		for _, e := range item.keys {
			in := key + "." + e.key
			text, err := d.scalar(e.val, in, want, aNumber)
			if err == nil && e.key == "device" {
				l.Device = text
			} else if err == nil {
				if err = l.setIO(e.key, text); err != nil {
					err = d.fail(e.line, in, err)
				}
			}
			if err != nil {
				return err
			}
		}
		if err := d.p.addIO(l, d.at(item.line)); err != nil {
			return d.fail(item.line, key, err)
		}
		if err := d.claim(item.line, key, l.Device); err != nil {
			return err
		}
	}
	if forgiven { // by this same file, so addIO may not take it back
		d.p.Limits.WhereAvailable = append(d.p.Limits.WhereAvailable, "io")
	}
	return nil
}
