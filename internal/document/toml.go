package document

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// made tells how a table came to be, which decides what may still be added to it.
type made int

const (
	implicit made = iota // as a parent in the header of another table
	header               // by its own [header]
	dotted               // by a dotted key
	closed               // inline: complete
)

// Value is a node of a document.
type Value struct {
	Kind  Kind
	Line  int      // from 1
	Text  string   // of a string its content, of other scalars what was written
	Items []*Value // of an array
	Keys  []Entry  // of a table, in the order written

	index map[string]int32 // of a table: key to its place in Keys
	made  made
	grows bool // an array of [[headers]]
}

// Entry is a key of a table.
type Entry struct {
	Key  string
	Line int
	Val  *Value
}

// Get returns the value of a key of a table, or nil.
func (v *Value) Get(key string) *Value {
	if i, ok := v.index[key]; ok {
		return v.Keys[i].Val
	}
	return nil
}

func (v *Value) put(key string, line int, val *Value) *Value {
	if v.index == nil {
		v.index = make(map[string]int32)
	}
	v.index[key] = int32(len(v.Keys))
	v.Keys = append(v.Keys, Entry{key, line, val})
	return val
}

// document turns the parser's expressions into a tree. The parser reports
// syntax; that no key is given twice is the reader's part, so it is done here.
type document struct {
	file   string
	parser unstable.Parser
	lines  lines
	header []string // of the table that keys go into, for messages
}

// ReadTOML parses a TOML document. The errors are of type *Error.
func ReadTOML(file string, data []byte) (*Value, error) {
	d := &document{file: file}
	data = data[:len(data):len(data)]
	d.lines = lineStarts(data)
	d.parser.Reset(data)
	root := &Value{Kind: Table, Line: 1, made: header}
	current := root
	for d.parser.NextExpression() {
		var err error
		switch n := d.parser.Expression(); n.Kind {
		case unstable.Table, unstable.ArrayTable:
			current, err = d.open(root, n)
		case unstable.KeyValue:
			err = d.assign(current, n, d.header)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := d.parser.Error(); err != nil {
		return nil, d.syntax(data, err)
	}
	return root, nil
}

// syntax gives an error of the parser its place.
func (d *document) syntax(data []byte, err error) error {
	line := len(d.lines)
	var at *unstable.ParserError
	if errors.As(err, &at) {
		if off := cap(data) - cap(at.Highlight); off >= 0 && off < len(data) {
			line = d.line(uint32(off))
		}
	}
	problem := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, err.Error())
	return &Error{File: d.file, Line: line, Err: errors.New("not TOML: " + problem)}
}

func (d *document) line(offset uint32) int { return d.lines.of(int(offset)) }

func (d *document) twice(line int, path []string, first int) error {
	return &Error{File: d.file, Line: line, Key: DottedKey(path...), Err: fmt.Errorf("given twice, first on line %d: keep one", first)}
}

// open finds or makes the table that a [header] or [[header]] names.
func (d *document) open(root *Value, n *unstable.Node) (*Value, error) {
	many := n.Kind == unstable.ArrayTable
	t := root
	var path []string
	for it := n.Key(); it.Next(); {
		key, line, last := string(it.Node().Data), d.line(it.Node().Raw.Offset), it.IsLast()
		path = append(path, key)
		v := t.Get(key)
		switch {
		case v == nil && last && many:
			v = t.put(key, line, &Value{Kind: Array, Line: line, grows: true})
			fallthrough
		case last && many && v.grows:
			t = &Value{Kind: Table, Line: line, made: header}
			v.Items = append(v.Items, t)
		case v == nil && last:
			t = t.put(key, line, &Value{Kind: Table, Line: line, made: header})
		case v == nil:
			t = t.put(key, line, &Value{Kind: Table, Line: line, made: implicit})
		case last && !many && v.Kind == Table && v.made == implicit:
			v.made, v.Line = header, line
			t = v
		case !last && v.Kind == Table && v.made != closed:
			t = v
		case !last && v.grows:
			t = v.Items[len(v.Items)-1]
		default:
			return nil, d.twice(line, path, v.Line)
		}
	}
	d.header = path
	return t, nil
}

// assign puts a key = value into t, which section leads to.
func (d *document) assign(t *Value, n *unstable.Node, section []string) error {
	var path []string
	for it := n.Key(); it.Next(); {
		key, line := string(it.Node().Data), d.line(it.Node().Raw.Offset)
		path = append(path, key)
		v := t.Get(key)
		switch {
		case it.IsLast() && v == nil:
			val, err := d.value(n.Value(), line)
			if err != nil {
				return err
			}
			t.put(key, line, val)
		case v == nil:
			t = t.put(key, line, &Value{Kind: Table, Line: line, made: dotted})
		case !it.IsLast() && v.Kind == Table && v.made == dotted:
			t = v
		default:
			return d.twice(line, slices.Concat(section, path), v.Line)
		}
	}
	return nil
}

// value copies a node. The parser bounds how deep they nest.
func (d *document) value(n *unstable.Node, line int) (*Value, error) {
	if n.Raw.Length > 0 {
		line = d.line(n.Raw.Offset)
	}
	v := &Value{Line: line, Text: string(n.Data)}
	switch n.Kind {
	case unstable.String:
		v.Kind = String
	case unstable.Integer:
		v.Kind = Integer
	case unstable.Float:
		v.Kind = Float
	case unstable.Bool:
		v.Kind = Bool
	case unstable.Array:
		v.Kind = Array
		for it := n.Children(); it.Next(); {
			item, err := d.value(it.Node(), line)
			if err != nil {
				return nil, err
			}
			v.Items = append(v.Items, item)
		}
	case unstable.InlineTable:
		v.Kind = Table
		v.made = header // open to dotted keys until its last one was read
		for it := n.Children(); it.Next(); {
			if err := d.assign(v, it.Node(), nil); err != nil {
				return nil, err
			}
		}
		v.close()
	default:
		v.Kind = Time
	}
	return v, nil
}

// close marks an inline table and what its dotted keys made as complete.
func (v *Value) close() {
	v.made = closed
	for _, e := range v.Keys {
		if e.Val.Kind == Table && e.Val.made == dotted {
			e.Val.close()
		}
	}
}
