package oci

import (
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// netDevices makes sure that interfaces can be moved into the container's network
// namespace, as far as can be seen before.
func (k *compiler) netDevices() error {
	devices := k.c.Linux.NetDevices
	if len(devices) == 0 {
		return nil
	}
	n := k.c.namespace(specs.NetworkNamespace)
	switch {
	case n == nil || n.Path != "" && sameNamespace(n.Path, specs.NetworkNamespace):
		return refusal("linux.netDevices", "the container has the network of the host: there is nowhere to move a device to")
	case k.facts.CapEff&(1<<unix.CAP_NET_ADMIN) == 0:
		return refusal("linux.netDevices", "this user may not take an interface away from the network that it is in: that needs CAP_NET_ADMIN")
	}
	for name, d := range devices {
		if !interfaceName(name) {
			return refusal("linux.netDevices", "%q is no name of a network interface", name)
		}
		if d.Name != "" && !interfaceName(d.Name) {
			return refusal("linux.netDevices."+name+".name", "%q is no name of a network interface", d.Name)
		}
	}
	k.in.NetDevices = true
	return nil
}

// interfaceName is what the kernel takes as one, netdevice(7).
func interfaceName(s string) bool {
	return s != "" && len(s) < unix.IFNAMSIZ && s != "." && s != ".." && !strings.ContainsAny(s, "/: \t\n\v\f\r")
}

// movedDevices are the interfaces that a container has got, until it is sure that it keeps them.
type movedDevices struct {
	here, there     *rtnetlink // sockets in the two namespaces
	hereFD, thereFD int
	moved           []networkLink // as they were here
	index           []int32       // of moved, there
}

// moveNetDevices moves all interfaces that config.json names. Where one can't be moved,
// those before it come back.
func (m *maker) moveNetDevices() error {
	d := &movedDevices{hereFD: -1, thereFD: -1}
	m.devices = d
	var err error
	if d.hereFD, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return refusal("linux.netDevices", "this process's network namespace: %v", err)
	}
	if d.thereFD, err = unix.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid()), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return refusal("linux.netDevices", "the container's network namespace: %v", err)
	}
	if d.here, err = openRtnetlink(); err != nil {
		return refusal("linux.netDevices", "%v", err)
	}
	// A socket belongs to the namespace that its maker is in; the goroutine is locked to its thread.
	if err := unix.Setns(d.thereFD, unix.CLONE_NEWNET); err != nil {
		return refusal("linux.netDevices", "enter the container's network namespace: %v", err)
	}
	d.there, err = openRtnetlink()
	if back := unix.Setns(d.hereFD, unix.CLONE_NEWNET); back != nil {
		return refusal("linux.netDevices", "leave the container's network namespace: %v", back)
	}
	if err != nil {
		return refusal("linux.netDevices", "%v", err)
	}
	devices := m.config.Linux.NetDevices
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		to := devices[name].Name
		if to == "" {
			to = name
		}
		if err := d.move(name, to); err != nil {
			return refusal("linux.netDevices."+name, "%w", err)
		}
	}
	return nil
}

// move moves an interface with its permanent addresses, and has it up.
func (d *movedDevices) move(name, to string) error {
	l, err := d.here.link(name)
	if err == unix.ENODEV {
		return fmt.Errorf("there is no network interface of this name here")
	}
	if err != nil {
		return err
	}
	if l.addresses, err = d.here.addresses(l.index); err != nil {
		return fmt.Errorf("its addresses: %w", err)
	}
	index, err := move(d.here, l.index, d.thereFD, d.there)
	if err != nil {
		return err
	}
	d.moved, d.index = append(d.moved, l), append(d.index, index)
	switch err := d.there.rename(index, to); err {
	case nil:
	case unix.EEXIST:
		return fmt.Errorf("the container's network namespace has an interface %s already; give it another name there", to)
	case unix.EINVAL:
		return fmt.Errorf("%q is no name that an interface can have", to)
	default:
		return fmt.Errorf("name it %s: %w", to, err)
	}
	now, err := d.there.linkAt(index)
	if err != nil {
		return err
	}
	return d.there.configure(index, l.name, now.name, l.addresses, true)
}

// move has the kernel move an interface. Its number may have become another, and its own
// name may be taken there: so it comes by a name that nobody has.
func move(from *rtnetlink, index int32, fd int, to *rtnetlink) (int32, error) {
	random := make([]byte, 4)
	if _, err := unix.Getrandom(random, 0); err != nil {
		return 0, os.NewSyscallError("getrandom", err)
	}
	passing := "cloche" + hex.EncodeToString(random)
	switch err := from.moveTo(index, fd, passing); err {
	case nil:
	case unix.EINVAL:
		return 0, fmt.Errorf("the kernel lets this kind of interface live in its own network namespace alone")
	case unix.EPERM:
		return 0, fmt.Errorf("this user has no CAP_NET_ADMIN over both network namespaces")
	default:
		return 0, fmt.Errorf("move it: %w", err)
	}
	l, err := to.link(passing)
	if err != nil {
		return 0, fmt.Errorf("it is not where it was moved to: %w", err)
	}
	return l.index, nil
}

// giveBack takes the interfaces of a container that came to nothing back to where they were.
func (d *movedDevices) giveBack() error {
	for i := len(d.moved) - 1; i >= 0; i-- {
		l := &d.moved[i]
		index, err := move(d.there, d.index[i], d.hereFD, d.here)
		if err == nil {
			err = d.here.rename(index, l.name)
		}
		if err == nil {
			err = d.here.configure(index, l.name, l.name, l.addresses, l.up)
		}
		if err != nil {
			return fmt.Errorf("give the network interface %s back: %w", l.name, err)
		}
	}
	return nil
}

func (d *movedDevices) close() {
	d.here.close()
	d.there.close()
	unix.Close(d.hereFD)
	unix.Close(d.thereFD)
}
