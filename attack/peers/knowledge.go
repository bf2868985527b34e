package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/attack"
)

// probeArg is the argument of the program as it looks around.
const probeArg = "knowledge-probe"

// thing is something that a sandbox may tell of its host.
type thing struct {
	name string
	look func() (string, error)
}

var things = []thing{
	{"host name", os.Hostname},
	{"processes outside", processes},
	{"network interfaces", interfaces},
	{"cgroup of the caller, /proc/self/cgroup", file("/proc/self/cgroup")},
	{"devices that are mounted, /proc/self/mountinfo", mountedDevices},
	{hostPathsName, hostPaths},
	{"variables of the caller", func() (string, error) { return lookedFor("CLOCHE_PEERS_TOKEN") }},
	{"users, /etc/passwd", file("/etc/passwd")},
	{"the caller's home", func() (string, error) { return listOf(os.Getenv("CLOCHE_PEERS_HOME")) }},
	{"/etc/machine-id", file("/etc/machine-id")},
	{"/etc/shadow", file("/etc/shadow")},
	{"/proc/sys/kernel/random/boot_id", file("/proc/sys/kernel/random/boot_id")},
	{"/proc/cmdline of the kernel", file("/proc/cmdline")},
	{"/proc/keys", exists("/proc/keys")},
	{"/proc/timer_list", exists("/proc/timer_list")},
	{"/proc/interrupts", exists("/proc/interrupts")},
	{"/proc/diskstats", exists("/proc/diskstats")},
	{"/proc/loadavg, uptime, stat", exists("/proc/loadavg")},
	{"/proc/meminfo, cpuinfo", exists("/proc/meminfo")},
	{"/proc/modules", exists("/proc/modules")},
	{"/proc/kallsyms, addresses", kernelAddresses},
	{"/sys: block devices", func() (string, error) { return listOf("/sys/block") }},
	{"/sys: firmware", func() (string, error) { return listOf("/sys/firmware") }},
	{"/dev: disks", disks},
	{"/run: sockets of services", func() (string, error) { return listOf("/run") }},
	{"kernel's log", kernelLog},
	{"session keyring", keyring},
	{"kernel version", kernel},
}

// hostPathsName: where the host has the program that is executed here.
const hostPathsName = "where a bind comes from, /proc/self/mountinfo"

func file(path string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(path)
		return string(b), err
	}
}

// exists is for files that change while one looks.
func exists(path string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(path)
		if err == nil && len(bytes.TrimSpace(b)) == 0 {
			return "", nil
		}
		return "there", err
	}
}

func listOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " "), err
}

// processes looks for the one that started the sandbox.
func processes() (string, error) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, n := range names {
		if b, _ := os.ReadFile(n); bytes.Contains(b, []byte(os.Getenv("CLOCHE_PEERS_MARK"))) && !bytes.Contains(b, []byte(probeArg)) {
			return "there", nil
		}
	}
	return "", nil
}

func interfaces() (string, error) {
	all, err := net.Interfaces()
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return strings.Join(names, " "), err
}

// mountedDevices are the block devices that mountinfo names.
func mountedDevices() (string, error) {
	return mountinfo(func(f []string, dev string) string { return dev }, "/dev/")
}

// hostPaths is what mountinfo tells of where the program's own file comes from.
func hostPaths() (string, error) {
	s, err := mountinfo(func(f []string, _ string) string { return f[3] }, os.Getenv("CLOCHE_PEERS_MARK"))
	if s != "" {
		s = "there"
	}
	return s, err
}

func mountinfo(what func(f []string, dev string) string, prefix string) (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	var found []string
	for line := range strings.Lines(string(b)) {
		front, back, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(front), strings.Fields(back)
		if len(f) < 5 || len(g) < 2 {
			continue
		}
		if s := what(f, g[1]); prefix != "" && strings.HasPrefix(s, prefix) && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	slices.Sort(found)
	return strings.Join(found, " "), err
}

func lookedFor(name string) (string, error) { return os.Getenv(name), nil }

func kernelAddresses() (string, error) {
	b, err := os.ReadFile("/proc/kallsyms")
	if err == nil && bytes.HasPrefix(b, []byte("0000000000000000 ")) {
		return "", nil
	}
	return "there", err
}

func disks() (string, error) {
	names, _ := filepath.Glob("/dev/[vsn][dv]*")
	return strings.Join(names, " "), nil
}

func kernelLog() (string, error) {
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err == nil {
		_, err = unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, n))
	}
	return "there", err
}

func keyring() (string, error) {
	id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	return fmt.Sprint(id), err
}

func kernel() (string, error) {
	var u unix.Utsname
	err := unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:]) + unix.ByteSliceToString(u.Version[:]), err
}

// seen is what was found of a thing.
type seen struct{ Value, Errno string }

// lookAround looks at everything.
func lookAround() map[string]seen {
	all := map[string]seen{}
	for _, t := range things {
		s, err := t.look()
		v := seen{Value: s}
		if err != nil {
			v = seen{Errno: "error"}
			var errno syscall.Errno
			if errors.As(err, &errno) {
				v.Errno = unix.ErrnoName(errno)
			}
		}
		all[t.name] = v
	}
	return all
}

// probe is the main of the program inside.
func probe() int {
	// The names of what to look for come as arguments: a sandbox may clear variables.
	for _, kv := range os.Args[2:] {
		name, value, _ := strings.Cut(kv, "=")
		os.Setenv(name, value)
	}
	if json.NewEncoder(os.Stdout).Encode(lookAround()) != nil {
		return 1
	}
	return 0
}

// know compares what a sandbox tells with what there is.
func (c *contender) know(into map[string]map[string]string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	os.Setenv("CLOCHE_PEERS_TOKEN", "token-of-the-caller")
	os.Setenv("CLOCHE_PEERS_HOME", home)
	os.Setenv("CLOCHE_PEERS_MARK", exe)
	host := lookAround()
	host["processes outside"] = seen{Value: "there"}
	host[hostPathsName] = seen{Value: "there"}
	var stdout bytes.Buffer
	a := &attack.Attack{Name: "knowledge"}
	box, end, err := c.plain(a)
	if err != nil {
		return err
	}
	defer end()
	argv := []string{exe, probeArg, "CLOCHE_PEERS_HOME=" + home, "CLOCHE_PEERS_MARK=" + exe}
	if ended, err := box.Run(context.Background(), argv, nil, &stdout); err != nil {
		return err
	} else if stdout.Len() == 0 {
		return errors.New(ended.Why)
	}
	var inside map[string]seen
	if err := json.Unmarshal(stdout.Bytes(), &inside); err != nil {
		return err
	}
	for _, t := range things {
		if into[t.name] == nil {
			into[t.name] = map[string]string{}
		}
		into[t.name][c.Name] = compare(host[t.name], inside[t.name])
	}
	return nil
}

func compare(host, inside seen) string {
	switch {
	case host.Errno != "" || host.Value == "":
		return untried // there is nothing to tell
	case inside.Errno != "":
		return "hidden"
	case inside.Value == host.Value:
		return "**visible**"
	case inside.Value == "":
		return "hidden"
	}
	return "its own"
}

// plain is the sandbox without an attack.
func (c *contender) plain(a *attack.Attack) (attack.Box, func(), error) {
	o, end, err := attack.NewOutside()
	if err != nil {
		return nil, nil, err
	}
	b, err := c.box(o, a, requestOf(a, o))
	return b, end, err
}
