package oci

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// release lets go of a container that is made.
func (m *maker) release() {
	m.letDevices()
	m.group.Close()
	m.container.unlock()
}

// letDevices leaves to the container the interfaces that it has got.
func (m *maker) letDevices() {
	if m.devices != nil {
		m.devices.close()
		m.devices = nil
	}
}

// undo takes back what was made for a container that failed.
func (m *maker) undo() error {
	c := m.container
	var errs []error
	if m.group != nil {
		if m.image != nil {
			_ = m.group.Signal(unix.SIGKILL)
		}
	}
	for _, pid := range m.pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if m.image != nil {
		m.image.Reap(m.pids...)
	}
	if m.devices != nil {
		if err := m.devices.giveBack(); err != nil {
			errs = append(errs, err)
		}
		m.letDevices()
	}
	if m.hooked {
		c.runPoststop()
	}
	if m.group != nil {
		if err := m.group.Destroy(); err != nil {
			errs = append(errs, err)
		}
		m.group.Close()
	}
	if err := os.RemoveAll(c.dir()); err != nil {
		errs = append(errs, err)
	}
	c.unlock()
	return errors.Join(errs...)
}
