package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is deeper than any document that people write, and less than what
// recursion could mind.
const maxDepth = 64

// ReadJSON parses a JSON document (RFC 8259). The errors are of type *Error. A key
// that an object has twice is one: which of the two holds is for each reader to
// choose, and they choose differently.
func ReadJSON(file string, data []byte) (*Value, error) {
	r := &jsonReader{file: file, dec: json.NewDecoder(bytes.NewReader(data)), lines: lineStarts(data)}
	r.dec.UseNumber()
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return nil, &Error{File: file, Line: r.line(), Err: errors.New("not JSON: something follows the end of the document")}
	}
	return v, nil
}

type jsonReader struct {
	file  string
	dec   *json.Decoder
	lines lines
}

// line is that of the end of the last token; none spans lines.
func (r *jsonReader) line() int { return r.lines.of(int(r.dec.InputOffset())) }

func (r *jsonReader) token() (json.Token, error) {
	t, err := r.dec.Token()
	if err == nil {
		return t, nil
	}
	line := r.line()
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		line, err = len(r.lines), errors.New("it ends in the middle")
	case errors.As(err, &syntax) && syntax.Offset > 0:
		line = r.lines.of(int(syntax.Offset) - 1)
	}
	problem := strings.TrimPrefix(err.Error(), "json: ")
	return nil, &Error{File: r.file, Line: line, Err: errors.New("not JSON: " + problem)}
}

func (r *jsonReader) value(depth int) (*Value, error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	v := &Value{Line: r.line(), made: closed}
	switch t := t.(type) {
	case string:
		v.Kind, v.Text = String, t
	case bool:
		v.Kind, v.Text = Bool, fmt.Sprint(t)
	case json.Number:
		v.Kind, v.Text = Integer, t.String()
		if strings.ContainsAny(v.Text, ".eE") {
			v.Kind = Float
		}
	case nil:
		v.Kind = Null
	case json.Delim:
		if depth == maxDepth {
			return nil, &Error{File: r.file, Line: v.Line, Err: fmt.Errorf("nested more than %d deep", maxDepth)}
		}
		v.Kind = Table
		if t == '[' {
			v.Kind = Array
		}
		for r.dec.More() {
			if err := r.member(v, depth+1); err != nil {
				return nil, err
			}
		}
		if _, err := r.token(); err != nil { // the closing one
			return nil, err
		}
	}
	return v, nil
}

// member reads an item of a list, or a key of a table with its value.
func (r *jsonReader) member(v *Value, depth int) error {
	if v.Kind == Array {
		item, err := r.value(depth)
		v.Items = append(v.Items, item)
		return err
	}
	t, err := r.token()
	if err != nil {
		return err
	}
	key, line := t.(string), r.line() // the decoder takes nothing else for a key
	if first := v.Get(key); first != nil {
		return &Error{File: r.file, Line: line, Key: DottedKey(key), Err: fmt.Errorf("given twice, first on line %d: keep one", first.Line)}
	}
	val, err := r.value(depth)
	if err == nil {
		v.put(key, line, val)
	}
	return err
}
