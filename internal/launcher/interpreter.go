package launcher

import (
	"bytes"
	"errors"
	"unsafe"
)

// interpreterAddress is where this program's own copy of the interpreter lies.
func interpreterAddress() unsafe.Pointer

// interpreterEnd closes the interpreter's text. A marker, not the address of a
// following function, because the linker may reorder functions (-randlayout).
var interpreterEnd = [...]byte{'c', 'l', 'o', 'c', 'h', 'e', ' ', 'e', 'n', 'd', ' ', 'o', 'f', ' ', 'i'}

// interpreterMax bounds the search for the marker: three times today's length.
const interpreterMax = 2048

var errInterpreter = errors.New("the launcher's interpreter was not found in this program: its end marker is missing, as after post-link rewriting; rebuild with an unmodified Go toolchain")

// interpreterText returns the interpreter's code of the architecture that this
// program was built for.
func interpreterText() ([]byte, error) {
	text := unsafe.Slice((*byte)(interpreterAddress()), interpreterMax)
	n := bytes.Index(text, interpreterEnd[:])
	if n < 0 {
		return nil, errInterpreter
	}
	return text[:n:n], nil
}
