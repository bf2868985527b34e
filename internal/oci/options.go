package oci

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// The mount options of the specification's table, and what others are for: those
// that are in none of these maps are the file system's own.

// attrOption sets or clears flags of a mount, MOUNT_ATTR_*.
type attrOption struct{ set, clear uint64 }

var attrOptions = map[string]attrOption{
	"ro":            {set: unix.MOUNT_ATTR_RDONLY},
	"rw":            {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid":        {set: unix.MOUNT_ATTR_NOSUID},
	"suid":          {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev":         {set: unix.MOUNT_ATTR_NODEV},
	"dev":           {clear: unix.MOUNT_ATTR_NODEV},
	"noexec":        {set: unix.MOUNT_ATTR_NOEXEC},
	"exec":          {clear: unix.MOUNT_ATTR_NOEXEC},
	"nosymfollow":   {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"symfollow":     {clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"nodiratime":    {set: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":      {clear: unix.MOUNT_ATTR_NODIRATIME},
	"noatime":       {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"atime":         {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"relatime":      {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"norelatime":    {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime":   {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"nostrictatime": {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
}

// superOptions are those of a whole file system that every one knows; the value is
// the name for fsconfig(2), and "" for what is the case anyway.
var superOptions = map[string]string{
	"sync": "sync", "async": "", "dirsync": "dirsync", "mand": "mand", "nomand": "", "lazytime": "lazytime", "nolazytime": "",
	"silent": "", "loud": "", "defaults": "", "iversion": "iversion", "noiversion": "",
}

var propagationOptions = map[string]plan.MountPropagation{
	"private": {Type: unix.MS_PRIVATE}, "rprivate": {Type: unix.MS_PRIVATE, Recursive: true},
	"shared": {Type: unix.MS_SHARED}, "rshared": {Type: unix.MS_SHARED, Recursive: true},
	"slave": {Type: unix.MS_SLAVE}, "rslave": {Type: unix.MS_SLAVE, Recursive: true},
	"unbindable": {Type: unix.MS_UNBINDABLE}, "runbindable": {Type: unix.MS_UNBINDABLE, Recursive: true},
}

// mountOptions are the options of one mount, sorted out.
type mountOptions struct {
	bind, recursive bool
	attr            attrOption
	rec             attrOption
	propagation     []plan.MountPropagation
	copyUp          bool
	idmap           bool
	idmapRecursive  bool
	super           []string // of the file system as a whole; a bind has none
	data            []string // its own
	remount         bool
}

// add lets o hold on top of a: a later option wins.
func (a *attrOption) add(o attrOption) {
	a.set = a.set&^o.clear | o.set
	a.clear = a.clear&^(o.set&^unix.MOUNT_ATTR__ATIME) | o.clear
}

func parseMountOptions(options []string) (m mountOptions) {
	for _, o := range options {
		if a, ok := attrOptions[o]; ok {
			m.attr.add(a)
			continue
		}
		if p, ok := propagationOptions[o]; ok {
			m.propagation = append(m.propagation, p)
			continue
		}
		if name, ok := superOptions[o]; ok {
			if name != "" {
				m.super = append(m.super, name)
			}
			continue
		}
		switch o {
		case "bind":
			m.bind = true
			continue
		case "rbind":
			m.bind, m.recursive = true, true
			continue
		case "tmpcopyup":
			m.copyUp = true
			continue
		case "idmap":
			m.idmap = true
			continue
		case "ridmap":
			m.idmap, m.idmapRecursive = true, true
			continue
		case "remount":
			m.remount = true
			continue
		}
		if name, ok := strings.CutPrefix(o, "r"); ok {
			if a, ok := attrOptions[name]; ok {
				m.rec.add(a)
				continue
			}
		}
		m.data = append(m.data, o)
	}
	return m
}

// mountOptionNames are all that parseMountOptions knows, for `features`.
func mountOptionNames() []string {
	names := []string{"bind", "rbind", "tmpcopyup", "idmap", "ridmap"}
	for n := range attrOptions {
		names = append(names, n, "r"+n)
	}
	for n := range propagationOptions {
		names = append(names, n)
	}
	for n := range superOptions {
		if _, both := attrOptions[n]; !both {
			names = append(names, n)
		}
	}
	return names
}
