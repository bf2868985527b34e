package inspect

import (
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mount is a mount that can be written to, as far as its flags go: permissions, Landlock
// and a filter may still refuse it.
type Mount struct {
	Path    string `json:"path"` // as the process sees it
	Type    string `json:"type"`
	Source  string `json:"source"`
	Root    string `json:"root"`    // of the mounted part, in its file system
	Options string `json:"options"` // such as "rw,nosuid,nodev"
	Shared  bool   `json:"shared"`  // mounts made below appear in other namespaces too, mount_namespaces(7)
}

// mounts are those that the process can reach.
func (t *target) mounts() []*mountinfo.Info {
	text, err := t.read("mountinfo")
	if err != nil {
		t.missed("its mounts", err)
		return nil
	}
	all, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
	if err != nil {
		t.missed("its mounts", err)
	}
	return all
}

// writable are the mounts that are not read-only and not covered by another one.
func writable(all []*mountinfo.Info) []Mount {
	out := []Mount{}
	type place struct {
		parent int
		path   string
	}
	covers := map[place]bool{}
	for _, m := range all {
		covers[place{m.Parent, m.Mountpoint}] = true
	}
	for _, m := range all {
		if covers[place{m.ID, m.Mountpoint}] || !has(m.Options, "rw") || has(m.VFSOptions, "ro") {
			continue
		}
		out = append(out, Mount{
			Path: m.Mountpoint, Type: m.FSType, Source: m.Source, Root: m.Root, Options: m.Options,
			Shared: strings.Contains(m.Optional, "shared:"),
		})
	}
	return out
}

func has(list, option string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == option {
			return true
		}
	}
	return false
}
