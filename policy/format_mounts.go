package policy

import (
	"encoding/base64"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// mounts writes [filesystem], one list for each kind of entry.
func (f *formatter) mounts() {
	last := make(map[string]int, len(f.p.Mounts))
	for i, m := range f.p.Mounts {
		last[path.Clean(m.Path)] = i
	}
	f.section("filesystem")
	if f.p.ShowCommand {
		f.line("show-command", "true", "filesystem.show-command")
	}
	for _, list := range filesystemKeys() {
		open := false
		for i := range f.p.Mounts {
			m := &f.p.Mounts[i]
			if last[path.Clean(m.Path)] != i || m.list() != list {
				continue
			}
			if !open {
				f.line(list, "[", "")
				open = true
			}
			f.b.WriteString("\t" + m.entry() + ",")
			f.comment(m.Origin)
		}
		if open {
			f.b.WriteString("]\n")
		}
	}
}

// list is the key of [filesystem] that an entry stands under.
func (m *Mount) list() string {
	if (m.Kind == Read || m.Kind == Write) && m.Source != "" {
		return "bind"
	}
	return string(m.Kind)
}

// entry is an entry's value in its list.
func (m *Mount) entry() string {
	var t table
	add := func(key, val string) {
		if val != "" {
			t = append(t, key, document.Quote(val))
		}
	}
	switch m.list() {
	case "bind":
		t = table{"source", document.Quote(m.Source), "target", document.Quote(m.Path)}
		if m.Kind == Write {
			t = append(t, "write", "true")
		}
	default:
		t = table{"path", document.Quote(m.Path)}
	}
	if m.Optional {
		t = append(t, "optional", "true")
	}
	if m.Size != 0 {
		t = append(t, "size", sizeValue(m.Size))
	}
	if m.Mode != 0 {
		t = append(t, "mode", fmt.Sprintf(`"%04o"`, m.Mode))
	}
	if m.Kind == File {
		if utf8.ValidString(m.Data) {
			t = append(t, "data", document.Quote(m.Data))
		} else {
			t = append(t, "base64", document.Quote(base64.StdEncoding.EncodeToString([]byte(m.Data))))
		}
	}
	if len(m.Lower) > 0 {
		lower := make([]string, len(m.Lower))
		for i, dir := range m.Lower {
			lower[i] = document.Quote(dir)
		}
		t = append(t, "lower", "["+strings.Join(lower, ", ")+"]")
	}
	add("upper", m.Upper)
	add("work", m.Work)
	add("subset", m.Subset)
	add("hidepid", m.Hidepid)
	if m.Kind == Symlink {
		add("to", m.Source)
	}
	if len(t) == 2 && (m.Kind == Read || m.Kind == Write || m.Kind == Hide || m.Kind == Tmpfs || m.Kind == Overlay) {
		return t[1]
	}
	return t.String()
}
