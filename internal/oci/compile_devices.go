package oci

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// devices are the default ones, and those of linux.devices.
func (k *compiler) devices() error {
	bind := k.userNS() || k.inUserNS
	for i := range k.c.Mounts {
		if m := &k.c.Mounts[i]; path.Clean("/"+m.Destination) == "/dev" && parseMountOptions(m.Options).bind {
			return nil // somebody's own /dev
		}
	}
	k.in.SetupDev = true
	named := map[string]bool{}
	var list []plan.ContainerDevice
	for i, d := range k.c.Linux.Devices {
		at := fmt.Sprintf("linux.devices[%d]", i)
		p := path.Clean(d.Path)
		if !path.IsAbs(d.Path) || p == "/" {
			return refusal(at+".path", "%q is not an absolute path below the root", d.Path)
		}
		if p == "/dev/ptmx" || p == "/dev/console" {
			continue // the container's own
		}
		dev := plan.ContainerDevice{Origin: at, Path: p, Mode: 0o666, Bind: bind}
		switch d.Type {
		case "c", "u":
			dev.Kind = unix.S_IFCHR
		case "b":
			dev.Kind = unix.S_IFBLK
		case "p":
			dev.Kind, dev.Bind = unix.S_IFIFO, false
		default:
			return refusal(at+".type", "%q is none of b, c, u and p", d.Type)
		}
		if dev.Kind != unix.S_IFIFO {
			if d.Major < 0 || d.Major > 0xfff || d.Minor < 0 || d.Minor > 0xfffff {
				return refusal(at, "%d:%d is not the number of a device", d.Major, d.Minor)
			}
			dev.Major, dev.Minor = uint32(d.Major), uint32(d.Minor)
		}
		if d.FileMode != nil {
			if *d.FileMode&^0o7777&^0o170000 != 0 {
				return refusal(at+".fileMode", "0%o is not a mode", uint32(*d.FileMode))
			}
			dev.Mode = uint32(*d.FileMode) & 0o7777
		}
		if d.UID != nil {
			dev.UID = *d.UID
		}
		if d.GID != nil {
			dev.GID = *d.GID
		}
		named[p] = true
		list = append(list, dev)
	}
	for _, d := range defaultDevices {
		if !named[d.Path] {
			d.Bind = bind
			k.in.Devices = append(k.in.Devices, d)
		}
	}
	k.in.Devices = append(k.in.Devices, list...)
	return nil
}

var defaultDevices = []plan.ContainerDevice{
	{Origin: "default devices", Path: "/dev/null", Kind: unix.S_IFCHR, Major: 1, Minor: 3, Mode: 0o666},
	{Origin: "default devices", Path: "/dev/zero", Kind: unix.S_IFCHR, Major: 1, Minor: 5, Mode: 0o666},
	{Origin: "default devices", Path: "/dev/full", Kind: unix.S_IFCHR, Major: 1, Minor: 7, Mode: 0o666},
	{Origin: "default devices", Path: "/dev/random", Kind: unix.S_IFCHR, Major: 1, Minor: 8, Mode: 0o666},
	{Origin: "default devices", Path: "/dev/urandom", Kind: unix.S_IFCHR, Major: 1, Minor: 9, Mode: 0o666},
	{Origin: "default devices", Path: "/dev/tty", Kind: unix.S_IFCHR, Major: 5, Minor: 0, Mode: 0o666},
}
