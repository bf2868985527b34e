package inspect

import (
	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// cgroups are those of the process, with limits and use.
func (t *target) cgroups() []cgroup.Reading {
	text, err := t.read("cgroup")
	if err != nil {
		t.missed("its cgroups", err)
		return nil
	}
	reader, err := cgroup.NewReader()
	if err != nil {
		t.missed("its cgroups", err)
		return nil
	}
	all := reader.Read(text, false)
	for i := range all {
		if all[i].Dir == "" {
			t.unread = append(t.unread, Unread{
				What:   []string{"use and limits of cgroup " + all[i].Path},
				Cause:  all[i].Why,
				Remedy: "run this where that part of the cgroup file system is mounted, such as outside of the container",
			})
		}
	}
	return all
}
