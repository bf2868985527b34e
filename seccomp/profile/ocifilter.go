package profile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// filter reads includes, all of which must be so, or excludes, none of which may.
func (r *ociReader) filter(e *ociEntry, v *document.Value, path string, include bool) error {
	say := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if !include {
			s = "not " + s
		}
		if e.condition != "" {
			e.condition += ", "
		}
		e.condition += s
	}
	return r.fields(v, path, []string{"caps", "arches", "minKernel"}, func(name, key string, v *document.Value) error {
		if name == "minKernel" {
			if err := r.want(v, key, document.String); err != nil || v.Text == "" {
				return err
			}
			version, ok := parseKernel(v.Text)
			if !ok {
				return r.fail(v.Line, key, fmt.Errorf(`%s is no version: write two numbers, such as "4.8"`, document.Clip(v.Text)))
			}
			say("since Linux %s", v.Text)
			if r.host.hasKernel(version) != include {
				e.applies = false
			}
			return nil
		}
		items, err := r.strings(v, key)
		if err != nil || len(items) == 0 {
			return err
		}
		var names []string
		here := 0
		for _, item := range items {
			names = append(names, strings.Map(plain, item.Text))
			if name == "caps" && slices.Contains(r.host.Caps, item.Text) || name == "arches" && item.Text == nativeName(r.host.Arch) {
				here++
			}
		}
		if name == "caps" {
			say("with %s", strings.Join(names, " and "))
			if include && here < len(items) || !include && here > 0 {
				e.applies = false
			}
		} else {
			say("on %s", strings.Join(names, " or "))
			if include != (here > 0) {
				e.applies = false
			}
		}
		return nil
	})
}

// nativeName is what these files call an architecture in includes and excludes.
func nativeName(a seccomp.Arch) string {
	switch a {
	case seccomp.X86, seccomp.X32:
		return a.String()
	}
	return a.GOARCH
}

func parseKernel(s string) (v [2]int, ok bool) {
	major, minor, ok := strings.Cut(s, ".")
	a, err1 := strconv.ParseUint(major, 10, 8)
	b, err2 := strconv.ParseUint(minor, 10, 8)
	return [2]int{int(a), int(b)}, ok && err1 == nil && err2 == nil
}

func (h *Host) hasKernel(v [2]int) bool {
	return h.Kernel == [2]int{} || slices.Compare(h.Kernel[:], v[:]) >= 0
}
