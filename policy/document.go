package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile is the largest policy file, in bytes, that is read. People write
// a few KiB; what is over a MiB is some other file.
const maxFile = 1 << 20

// Error is a mistake in a policy file.
type Error struct {
	File string
	Line int    // from 1; 0: the file as a whole
	Key  string // dotted, such as "limits.memory"; "" where there is none
	Err  error  // what is wrong and what to write instead
}

// Error returns one line: "file:line: key: problem".
func (e *Error) Error() string {
	s := e.where()
	if e.Key != "" {
		s += ": " + e.Key
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) where() string {
	if e.Line == 0 {
		return e.File
	}
	return fmt.Sprintf("%s:%d", e.File, e.Line)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// kind is the type of a value of a TOML document.
type kind int

const (
	kString kind = iota
	kInteger
	kFloat
	kBool
	kTime
	kArray
	kTable
)

// String names a kind as a message does.
func (k kind) String() string {
	return [...]string{"a string", "an integer", "a float", "a boolean", "a date or time", "a list", "a table"}[k]
}

// made tells how a table came to be, which decides what may still be added to it.
type made int

const (
	implicit made = iota // as a parent in the header of another table
	header               // by its own [header]
	dotted               // by a dotted key
	closed               // inline: complete
)

// value is a node of a TOML document.
type value struct {
	kind  kind
	line  int
	text  string           // of a string its content, of other scalars what was written
	items []*value         // of an array
	keys  []entry          // of a table, in the order written
	index map[string]int32 // of a table: key to its place in keys
	made  made
	grows bool // an array of [[headers]]
}

// entry is a key of a table.
type entry struct {
	key  string
	line int
	val  *value
}

func (v *value) get(key string) *value {
	if i, ok := v.index[key]; ok {
		return v.keys[i].val
	}
	return nil
}

func (v *value) put(key string, line int, val *value) *value {
	if v.index == nil {
		v.index = make(map[string]int32)
	}
	v.index[key] = int32(len(v.keys))
	v.keys = append(v.keys, entry{key, line, val})
	return val
}

// document turns the parser's expressions into a tree. The parser reports
// syntax; that no key is given twice is the reader's part, so it is done here.
type document struct {
	file   string
	parser unstable.Parser
	lines  []int    // offset of each line's start
	header []string // of the table that keys go into, for messages
}

// readDocument parses data. The errors are of type *Error.
func readDocument(file string, data []byte) (*value, error) {
	d := &document{file: file}
	if len(data) > maxFile {
		return nil, &Error{File: file, Err: fmt.Errorf("%d bytes: a policy file may have 1 MiB; is this the right file?", len(data))}
	}
	data = data[:len(data):len(data)]
	for i := 0; ; {
		d.lines = append(d.lines, i)
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
	}
	d.parser.Reset(data)
	root := &value{kind: kTable, line: 1, made: header}
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

func (d *document) line(offset uint32) int {
	return sort.SearchInts(d.lines, int(offset)+1)
}

func (d *document) twice(line int, path []string, first int) error {
	return &Error{File: d.file, Line: line, Key: dottedKey(path...), Err: fmt.Errorf("given twice, first on line %d: keep one", first)}
}

// open finds or makes the table that a [header] or [[header]] names.
func (d *document) open(root *value, n *unstable.Node) (*value, error) {
	many := n.Kind == unstable.ArrayTable
	t := root
	var path []string
	for it := n.Key(); it.Next(); {
		key, line, last := string(it.Node().Data), d.line(it.Node().Raw.Offset), it.IsLast()
		path = append(path, key)
		v := t.get(key)
		switch {
		case v == nil && last && many:
			v = t.put(key, line, &value{kind: kArray, line: line, grows: true})
			fallthrough
		case last && many && v.grows:
			t = &value{kind: kTable, line: line, made: header}
			v.items = append(v.items, t)
		case v == nil && last:
			t = t.put(key, line, &value{kind: kTable, line: line, made: header})
		case v == nil:
			t = t.put(key, line, &value{kind: kTable, line: line, made: implicit})
		case last && !many && v.kind == kTable && v.made == implicit:
			v.made, v.line = header, line
			t = v
		case !last && v.kind == kTable && v.made != closed:
			t = v
		case !last && v.grows:
			t = v.items[len(v.items)-1]
		default:
			return nil, d.twice(line, path, v.line)
		}
	}
	d.header = path
	return t, nil
}

// assign puts a key = value into t, which section leads to.
func (d *document) assign(t *value, n *unstable.Node, section []string) error {
	var path []string
	for it := n.Key(); it.Next(); {
		key, line := string(it.Node().Data), d.line(it.Node().Raw.Offset)
		path = append(path, key)
		v := t.get(key)
		switch {
		case it.IsLast() && v == nil:
			val, err := d.value(n.Value(), line)
			if err != nil {
				return err
			}
			t.put(key, line, val)
		case v == nil:
			t = t.put(key, line, &value{kind: kTable, line: line, made: dotted})
		case !it.IsLast() && v.kind == kTable && v.made == dotted:
			t = v
		default:
			return d.twice(line, slices.Concat(section, path), v.line)
		}
	}
	return nil
}

// value copies a node. The parser bounds how deep they nest.
func (d *document) value(n *unstable.Node, line int) (*value, error) {
	if n.Raw.Length > 0 {
		line = d.line(n.Raw.Offset)
	}
	v := &value{line: line, text: string(n.Data)}
	switch n.Kind {
	case unstable.String:
		v.kind = kString
	case unstable.Integer:
		v.kind = kInteger
	case unstable.Float:
		v.kind = kFloat
	case unstable.Bool:
		v.kind = kBool
	case unstable.Array:
		v.kind = kArray
		for it := n.Children(); it.Next(); {
			item, err := d.value(it.Node(), line)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
		}
	case unstable.InlineTable:
		v.kind = kTable
		v.made = header // open to dotted keys until its last one was read
		for it := n.Children(); it.Next(); {
			if err := d.assign(v, it.Node(), nil); err != nil {
				return nil, err
			}
		}
		v.close()
	default:
		v.kind = kTime
	}
	return v, nil
}

// close marks an inline table and what its dotted keys made as complete.
func (v *value) close() {
	v.made = closed
	for _, e := range v.keys {
		if e.val.kind == kTable && e.val.made == dotted {
			e.val.close()
		}
	}
}
