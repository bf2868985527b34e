package oci

import (
	"bytes"
	"encoding/json"
)

// What decode makes of the bytes of a JSON text.

// next is the byte after white space; 0: the end.
func (d *decoder) next() byte {
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take passes over white space and a byte.
func (d *decoder) take(c byte) error {
	if d.next() != c || c == 0 {
		return errUnsure
	}
	d.at++
	return nil
}

// more is called between the items of a list or an object.
func (d *decoder) more(end byte) (bool, error) {
	switch d.next() {
	case ',':
		d.at++
		return true, nil
	case end:
		d.at++
		return false, nil
	}
	return false, errUnsure
}

// begins passes over the opening bracket; empty: over the closing one too.
func (d *decoder) begins(open, end byte) (empty bool, err error) {
	if err := d.take(open); err != nil {
		return false, err
	}
	if d.next() == end {
		d.at++
		return true, nil
	}
	return false, nil
}

// word passes over null, true or false.
func (d *decoder) word(w string) error {
	if !bytes.HasPrefix(d.text[d.at:], []byte(w)) {
		return errUnsure
	}
	d.at += len(w)
	return nil
}

// bytes is the text of a string, still with its escapes.
func (d *decoder) bytes() (raw []byte, escaped bool, err error) {
	if err := d.take('"'); err != nil {
		return nil, false, err
	}
	begin := d.at
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '"':
			d.at++
			return d.text[begin : d.at-1], escaped, nil
		case c < ' ':
			return nil, false, errUnsure
		case c == '\\':
			escaped = true
			d.at++
		}
	}
	return nil, false, errUnsure
}

// string is a string without its escapes.
func (d *decoder) string() ([]byte, error) {
	raw, escaped, err := d.bytes()
	if err != nil || !escaped {
		return raw, err
	}
	var s string
	if json.Unmarshal(d.text[d.at-len(raw)-2:d.at], &s) != nil {
		return nil, errUnsure
	}
	return []byte(s), nil
}

// integer is the text of a number without fraction and exponent.
func (d *decoder) integer() (string, error) {
	d.next()
	begin := d.at
	if d.at < len(d.text) && d.text[d.at] == '-' {
		d.at++
	}
	digits := d.at
	for d.at < len(d.text) && d.text[d.at]-'0' <= 9 {
		d.at++
	}
	if d.at == digits || d.text[digits] == '0' && d.at > digits+1 {
		return "", errUnsure
	}
	if d.at < len(d.text) && (d.text[d.at] == '.' || d.text[d.at]|0x20 == 'e') {
		return "", errUnsure
	}
	return string(d.text[begin:d.at]), nil
}

// skip passes over a value that nobody asks for.
func (d *decoder) skip(depth int) error {
	if depth > 2*maxDepth {
		return errUnsure
	}
	switch d.next() {
	case '{', '[':
		open, end := d.text[d.at], d.text[d.at]+2
		empty, err := d.begins(open, end)
		for err == nil && !empty {
			if open == '{' {
				if _, err := d.string(); err != nil {
					return err
				}
				if err := d.take(':'); err != nil {
					return err
				}
			}
			if err := d.skip(depth + 1); err != nil {
				return err
			}
			if on, err := d.more(end); err != nil || !on {
				return err
			}
		}
		return err
	case '"':
		_, err := d.string()
		return err
	case 't':
		return d.word("true")
	case 'f':
		return d.word("false")
	case 'n':
		return d.word("null")
	}
	_, err := d.integer()
	return err
}
