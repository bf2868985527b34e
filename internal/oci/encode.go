package oci

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// encode is json.Marshal, as decode is json.Unmarshal: without the tables that take longer
// than the writing.
func encode(from any) ([]byte, error) {
	return appendJSON(make([]byte, 0, 2048), reflect.ValueOf(from))
}

// appendJSON writes a value to a text.
func appendJSON(text []byte, v reflect.Value) ([]byte, error) {
	if _, ok := v.Interface().(json.Marshaler); ok {
		return appendOther(text, v)
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.AppendBool(text, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(text, v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(text, v.Uint(), 10), nil
	case reflect.String:
		return appendString(text, v.String())
	case reflect.Struct:
		return appendStruct(text, v)
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return appendOther(text, v)
		}
		text = append(text, '[')
		for i := range v.Len() {
			if i > 0 {
				text = append(text, ',')
			}
			var err error
			if text, err = appendJSON(text, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return append(text, ']'), nil
	}
	return appendOther(text, v)
}

func appendOther(text []byte, v reflect.Value) ([]byte, error) {
	more, err := json.Marshal(v.Interface())
	return append(text, more...), err
}

func appendString(text []byte, s string) ([]byte, error) {
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) })
	if plain {
		return append(append(append(text, '"'), s...), '"'), nil
	}
	more, err := json.Marshal(s)
	return append(text, more...), err
}

func appendStruct(text []byte, v reflect.Value) ([]byte, error) {
	t := v.Type()
	begin, first := len(text), true
	text = append(text, '{')
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported():
			continue
		case f.Anonymous || options != "" && options != "omitempty" || name == "" || name == "-":
			return appendOther(text[:begin], v) // rare, and not understood here
		case options == "omitempty" && isEmpty(v.Field(i)):
			continue
		}
		if !first {
			text = append(text, ',')
		}
		first = false
		text = append(append(append(text, '"'), name...), '"', ':')
		var err error
		if text, err = appendJSON(text, v.Field(i)); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}

// isEmpty is what omitempty leaves out.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String, reflect.Array:
		return v.Len() == 0
	}
	return v.Kind() != reflect.Struct && v.IsZero()
}
