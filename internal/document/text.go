package document

import (
	"fmt"
	"strings"
)

// DottedKey writes a key as TOML would, quoted where it must be, and cut short
// where it is long.
func DottedKey(path ...string) string {
	var b strings.Builder
	for i, key := range path {
		if i > 0 {
			b.WriteByte('.')
		}
		if i == 8 && len(path) > 9 {
			b.WriteString("…")
			break
		}
		if BareKey(key) && len(key) <= 80 {
			b.WriteString(key)
		} else {
			b.WriteString(Clip(key))
		}
	}
	return b.String()
}

// BareKey reports whether TOML needs no quotes around s.
func BareKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// Key is a key of a table, quoted where it must be.
func Key(s string) string {
	if BareKey(s) {
		return s
	}
	return Quote(s)
}

// Quote writes a basic string of TOML.
func Quote(s string) string {
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
