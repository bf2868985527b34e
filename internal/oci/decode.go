package oci

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decode is json.Unmarshal into a value that nothing was decoded into before. The decoder of encoding/json first makes tables of
// every type that could be met, and the encoders of them too: for a config.json that takes ten
// times as long as reading it. This one looks at the types that it meets. What it is not sure of
// it leaves to the other one, which also finds the words for errors.
func decode(text []byte, to any) error {
	v := reflect.ValueOf(to).Elem()
	before := reflect.New(v.Type()).Elem()
	before.Set(v)
	if decodeQuickly(text, v) == nil {
		return nil
	}
	v.Set(before)
	return json.Unmarshal(text, to)
}

func decodeQuickly(text []byte, v reflect.Value) error {
	if !utf8.Valid(text) {
		return errUnsure
	}
	d := decoder{text: text, types: make(map[reflect.Type][]member, 16)}
	if err := d.value(v, 0); err != nil {
		return err
	}
	if d.next(); d.at < len(text) {
		return errUnsure
	}
	return nil
}

// errUnsure is all that is said here of what is no JSON, of the wrong type, or rare.
var errUnsure = errors.New("left to encoding/json")

type decoder struct {
	text  []byte
	at    int
	types map[reflect.Type][]member
}

// member is a field of a struct, by its name in JSON.
type member struct {
	name  string
	index [2]int // within an embedded struct the second, else -1
}

// members lists the fields of a struct, those of embedded ones after its own.
func (d *decoder) members(t reflect.Type) ([]member, error) {
	if all, ok := d.types[t]; ok {
		return all, nil
	}
	all := make([]member, 0, t.NumField())
	has := func(name string) bool {
		for i := range all {
			if all[i].name == name {
				return true
			}
		}
		return false
	}
	for _, embedded := range [...]bool{false, true} {
		for i := range t.NumField() {
			f := t.Field(i)
			tag := f.Tag.Get("json")
			name, options, _ := strings.Cut(tag, ",")
			switch {
			case f.Anonymous && (tag != "" || f.Type.Kind() != reflect.Struct):
				return nil, errUnsure
			case f.Anonymous && embedded:
				inner, err := d.members(f.Type)
				if err != nil {
					return nil, err
				}
				for _, m := range inner {
					switch {
					case m.index[1] >= 0:
						return nil, errUnsure
					case !has(m.name): // else it is hidden by the outer one
						all = append(all, member{m.name, [2]int{i, m.index[0]}})
					}
				}
			case f.Anonymous || embedded || !f.IsExported() || tag == "-":
			case strings.Contains(options, "string") || has(name):
				return nil, errUnsure
			case name == "":
				all = append(all, member{f.Name, [2]int{i, -1}})
			default:
				all = append(all, member{name, [2]int{i, -1}})
			}
		}
	}
	d.types[t] = all
	return all, nil
}

// find is the field of a key: the same, or the first that differs in case alone.
func find(all []member, key []byte) int {
	for i := range all {
		if string(key) == all[i].name {
			return i
		}
	}
	for i := range all {
		if bytes.EqualFold(key, []byte(all[i].name)) {
			return i
		}
	}
	return -1
}

// value reads a value of any type.
func (d *decoder) value(v reflect.Value, depth int) error {
	c := d.next()
	t := v.Type()
	kind := t.Kind()
	switch {
	case depth > 2*maxDepth:
		return errUnsure
	case kind == reflect.Pointer && c == 'n':
		v.SetZero()
		return d.word("null")
	case kind == reflect.Pointer:
		p := reflect.New(t.Elem())
		v.Set(p)
		return d.value(p.Elem(), depth+1)
	}
	switch own := v.Addr().Interface().(type) {
	case json.Unmarshaler:
		begin := d.at
		if err := d.skip(depth); err != nil {
			return err
		}
		if own.UnmarshalJSON(d.text[begin:d.at]) != nil {
			return errUnsure
		}
		return nil
	case encoding.TextUnmarshaler:
		return errUnsure
	}
	if c == 'n' {
		return d.word("null") // nothing changes, or becomes what it is
	}
	switch kind {
	case reflect.Struct:
		return d.object(v, depth)
	case reflect.Slice:
		return d.list(v, depth)
	case reflect.Map:
		return d.table(v, depth)
	case reflect.String:
		s, err := d.string()
		if err == nil {
			v.SetString(string(s))
		}
		return err
	case reflect.Bool:
		if v.SetBool(c == 't'); c == 't' {
			return d.word("true")
		}
		return d.word("false")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s, err := d.integer()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || v.OverflowInt(n) {
			return errUnsure
		}
		v.SetInt(n)
		return nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s, err := d.integer()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || v.OverflowUint(n) {
			return errUnsure
		}
		v.SetUint(n)
		return nil
	}
	return errUnsure
}

func (d *decoder) object(v reflect.Value, depth int) error {
	all, err := d.members(v.Type())
	if err != nil || len(all) > 64 {
		return errUnsure
	}
	empty, err := d.begins('{', '}')
	for seen := uint64(0); err == nil && !empty; {
		key, err := d.string()
		if err != nil {
			return err
		}
		if err := d.take(':'); err != nil {
			return err
		}
		i := find(all, key)
		switch {
		case i < 0:
			err = d.skip(depth + 1)
		case seen>>i&1 == 1:
			return errUnsure // what a value read twice becomes is for the other one to say
		default:
			seen |= 1 << i
			f := v.Field(all[i].index[0])
			if all[i].index[1] >= 0 {
				f = f.Field(all[i].index[1])
			}
			err = d.value(f, depth+1)
		}
		if err != nil {
			return err
		}
		if on, err := d.more('}'); err != nil || !on {
			return err
		}
	}
	return err
}

func (d *decoder) list(v reflect.Value, depth int) error {
	item := v.Type().Elem()
	if item.Kind() == reflect.Uint8 {
		return errUnsure // it is base64
	}
	empty, err := d.begins('[', ']')
	if err != nil {
		return err
	}
	if v.Set(reflect.MakeSlice(v.Type(), 0, 0)); empty {
		return nil
	}
	for n := 0; ; n++ {
		if n == v.Cap() {
			v.Grow(max(4, n))
		}
		v.SetLen(n + 1)
		if err := d.value(v.Index(n), depth+1); err != nil {
			return err
		}
		if on, err := d.more(']'); err != nil || !on {
			return err
		}
	}
}

func (d *decoder) table(v reflect.Value, depth int) error {
	t := v.Type()
	if t.Key().Kind() != reflect.String || reflect.PointerTo(t.Key()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return errUnsure
	}
	v.Set(reflect.MakeMap(t))
	empty, err := d.begins('{', '}')
	for err == nil && !empty {
		key, err := d.string()
		if err != nil {
			return err
		}
		if err := d.take(':'); err != nil {
			return err
		}
		item := reflect.New(t.Elem()).Elem()
		if err := d.value(item, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(string(key)).Convert(t.Key()), item)
		if on, err := d.more('}'); err != nil || !on {
			return err
		}
	}
	return err
}
