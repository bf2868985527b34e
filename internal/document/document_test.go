package document

import (
	"errors"
	"strings"
	"testing"
)

// TestJSONLines holds each value to the line that it starts on.
func TestJSONLines(t *testing.T) {
	v, err := ReadJSON("p.json", []byte("{\n\"a\": 1,\n\"b\": [\n2.5, true,\nnull],\n\"c\": {\"d\": \"x\\ny\"}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		v    *Value
		kind Kind
		line int
		text string
	}{
		{v, Table, 1, ""},
		{v.Get("a"), Integer, 2, "1"},
		{v.Get("b"), Array, 3, ""},
		{v.Get("b").Items[0], Float, 4, "2.5"},
		{v.Get("b").Items[1], Bool, 4, "true"},
		{v.Get("b").Items[2], Null, 5, ""},
		{v.Get("c").Get("d"), String, 6, "x\ny"},
	} {
		if c.v.Kind != c.kind || c.v.Line != c.line || c.v.Text != c.text {
			t.Errorf("%s on line %d: %q; want %s on line %d: %q", c.v.Kind, c.v.Line, c.v.Text, c.kind, c.line, c.text)
		}
	}
}

func TestMistakes(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1)
	for _, c := range []struct {
		read func(string, []byte) (*Value, error)
		data string
		want string
	}{
		{ReadJSON, "", "f:1: not JSON: it ends in the middle"},
		{ReadJSON, "{\n\"a\": [1,\n", "f:3: not JSON: it ends in the middle"},
		{ReadJSON, "{\n\"a\" 1}", "f:2: not JSON: "},
		{ReadJSON, "{\n\"a\": 1,\n\"a\": 2}", "f:3: a: given twice, first on line 2: keep one"},
		{ReadJSON, "[1,]", "f:1: not JSON: "},
		{ReadJSON, "{}\n{}", "f:2: not JSON: something follows"},
		{ReadJSON, "{}\n\x00", "f:2: not JSON: something follows"},
		{ReadJSON, deep, "f:1: nested more than 64 deep"},
		{ReadTOML, "a = 1\na = 2", "f:2: a: given twice, first on line 1: keep one"},
		{ReadTOML, "a = 1\nb =", "f:2: not TOML: "},
	} {
		v, err := c.read("f", []byte(c.data))
		var at *Error
		if !errors.As(err, &at) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want %q", c.data, v, err, c.want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": null}], "c": "d"}`))
	f.Add([]byte("[[[[]]]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ReadJSON("f", data)
		if (v == nil) == (err == nil) {
			t.Fatal(v, err)
		}
		var at *Error
		if err != nil && (!errors.As(err, &at) || strings.Contains(err.Error(), "\n")) {
			t.Fatalf("%q", err)
		}
	})
}
