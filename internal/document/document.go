// Package document reads what people write, TOML and JSON, into trees that know
// their lines, and has the words for what is wrong with it.
package document

import (
	"bytes"
	"fmt"
	"sort"
)

// Error is a mistake in a document.
type Error struct {
	File string
	Line int    // from 1; 0: the file as a whole
	Key  string // dotted, such as "limits.memory"; "" where there is none
	Err  error  // what is wrong and what to write instead
}

// Error returns one line: "file:line: key: problem".
func (e *Error) Error() string {
	s := e.Where()
	if e.Key != "" {
		s += ": " + e.Key
	}
	return s + ": " + e.Err.Error()
}

// Where returns "file:line".
func (e *Error) Where() string {
	if e.Line == 0 {
		return e.File
	}
	return fmt.Sprintf("%s:%d", e.File, e.Line)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Kind is the type of a Value.
type Kind int

// The kinds. JSON's numbers are integers or floats by how they are written.
const (
	String Kind = iota
	Integer
	Float
	Bool
	Time // of TOML alone
	Array
	Table
	Null // of JSON alone
)

// String names a kind as a message does.
func (k Kind) String() string {
	return [...]string{"a string", "an integer", "a float", "a boolean", "a date or time", "a list", "a table", "null"}[k]
}

// lines are the offsets at which lines start.
type lines []int

func lineStarts(data []byte) lines {
	var l lines
	for i := 0; ; {
		l = append(l, i)
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			return l
		}
		i += n + 1
	}
}

// of is the number of the line that an offset lies in, from 1.
func (l lines) of(offset int) int { return sort.SearchInts(l, offset+1) }
