package policy

import (
	"fmt"
	"strings"
)

// dottedKey writes a key as TOML would, quoted where it must be, and cut short
// where it is long.
func dottedKey(path ...string) string {
	var b strings.Builder
	for i, key := range path {
		if i > 0 {
			b.WriteByte('.')
		}
		if i == 8 && len(path) > 9 {
			b.WriteString("…")
			break
		}
		if bareKey(key) && len(key) <= 80 {
			b.WriteString(key)
		} else {
			b.WriteString(clip(key))
		}
	}
	return b.String()
}

// bareKey reports whether TOML needs no quotes around s.
func bareKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// key is a key of a table, quoted where it must be.
func key(s string) string {
	if bareKey(s) {
		return s
	}
	return quote(s)
}

// quote writes a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
