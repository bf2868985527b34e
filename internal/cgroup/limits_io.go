package cgroup

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// io writes the limits of one block device.
func (w *writer) io(l *policy.IOLimit) {
	if w.err != nil {
		return
	}
	dev, err := blockDevice(l.Device)
	if err != nil {
		w.err = fmt.Errorf("limits.io %s: %w; name a block device, such as /dev/sda, or a file on one", l.Device, err)
		return
	}
	rates := [...]struct {
		n      int64
		v2, v1 string
	}{
		{int64(l.ReadBPS), "rbps", "blkio.throttle.read_bps_device"},
		{int64(l.WriteBPS), "wbps", "blkio.throttle.write_bps_device"},
		{l.ReadIOPS, "riops", "blkio.throttle.read_iops_device"},
		{l.WriteIOPS, "wiops", "blkio.throttle.write_iops_device"},
	}
	v2 := w.v2(IO)
	line := dev
	for _, r := range rates {
		switch {
		case r.n < 0:
			w.fail(fmt.Errorf("limits.io %s: a rate can't be negative; leave it out for no limit", l.Device))
		case r.n == 0:
		case v2:
			line += " " + r.v2 + "=" + strconv.FormatInt(r.n, 10)
		default:
			w.set(IO, "limits.io", r.v1, dev+" "+strconv.FormatInt(r.n, 10))
		}
	}
	if v2 && line != dev {
		w.set(IO, "limits.io", "io.max", line)
	}
}

// blockDevice is the "major:minor" of the whole disk that a path names: itself a
// block device, or any file on one. The kernel limits disks, not partitions.
func blockDevice(name string) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_TYPE, &st); err != nil {
		return "", fileError("stat", name, err)
	}
	major, minor := st.Dev_major, st.Dev_minor
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		major, minor = st.Rdev_major, st.Rdev_minor
	}
	if major == 0 {
		return "", fmt.Errorf("%s is on a file system that has no block device of its own (tmpfs, overlay, network, btrfs)", name)
	}
	return wholeDisk("/sys/dev/block", strconv.FormatUint(uint64(major), 10)+":"+strconv.FormatUint(uint64(minor), 10))
}

// wholeDisk goes from a partition to its disk: in sysfs the directory above.
func wholeDisk(sys, dev string) (string, error) {
	dir := path.Join(sys, dev)
	if unix.Access(dir, unix.F_OK) != nil {
		return dev, nil // no /sys here: the kernel will tell
	}
	if unix.Access(dir+"/partition", unix.F_OK) != nil {
		return dev, nil
	}
	// Not path.Join: the kernel has to resolve the link before "..".
	s, err := readFile(dir + "/../dev")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(s), nil
}
