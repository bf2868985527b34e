package oci

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// refusal is a property of config.json that can't be honoured, by its name.
func refusal(property, format string, args ...any) error {
	return fmt.Errorf("config.json: %s: "+format, append([]any{property}, args...)...)
}

// validate refuses what contradicts itself or the specification, before
// anything is made.
func (c *config) validate() error {
	if !strings.HasPrefix(c.Version, "1.") {
		return refusal("ociVersion", "%q is not a version from 1.0 to 1.3 of the runtime specification", c.Version)
	}
	for _, other := range []struct {
		name  string
		given bool
	}{{"solaris", c.Solaris != nil}, {"windows", c.Windows != nil}, {"vm", c.VM != nil}, {"zos", c.ZOS != nil}, {"freebsd", c.FreeBSD != nil}} {
		if other.given {
			return refusal(other.name, "this is a container for another platform; Cloche runs those for linux")
		}
	}
	if c.Root == nil || c.Root.Path == "" {
		return refusal("root.path", "it is missing")
	}
	if c.Process == nil {
		return refusal("process", "it is missing: there is nothing to run")
	}
	if c.Linux == nil {
		c.Linux = &linuxConfig{}
	}
	if err := validateProcess(c.Process, "process"); err != nil {
		return err
	}
	if err := c.validateNamespaces(); err != nil {
		return err
	}
	if err := c.validateMounts(); err != nil {
		return err
	}
	if c.Linux.IntelRdt != nil {
		return refusal("linux.intelRdt", "Cloche sets up no Resource Director Technology; leave it out, or use another runtime for this container")
	}
	return c.validateHooks()
}

func validateProcess(p *specs.Process, at string) error {
	switch {
	case len(p.Args) == 0:
		return refusal(at+".args", "args must not be empty")
	case p.Args[0] == "":
		return refusal(at+".args", "the name of the command is empty")
	case p.Cwd == "":
		return refusal(at+".cwd", "Cwd property must not be empty")
	case !path.IsAbs(p.Cwd):
		return refusal(at+".cwd", "Cwd must be an absolute path")
	case p.CommandLine != "":
		return refusal(at+".commandLine", "it is for Windows; give args")
	case p.User.Username != "":
		return refusal(at+".user.username", "it is for Windows; give uid and gid")
	}
	for _, e := range p.Env {
		if !strings.Contains(e, "=") {
			return refusal(at+".env", "%q is not of the form NAME=VALUE", e)
		}
	}
	return nil
}

// namespace is the entry of a kind; nil: that of the caller is used.
func (c *config) namespace(t specs.LinuxNamespaceType) *specs.LinuxNamespace {
	for i := range c.Linux.Namespaces {
		if n := &c.Linux.Namespaces[i]; n.Type == t {
			return n
		}
	}
	return nil
}

// makes reports whether a namespace of a kind is to be made.
func (c *config) makes(t specs.LinuxNamespaceType) bool {
	n := c.namespace(t)
	return n != nil && n.Path == ""
}

var namespaceTypes = []string{"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"}

func (c *config) validateNamespaces() error {
	seen := map[specs.LinuxNamespaceType]bool{}
	for i := range c.Linux.Namespaces {
		n := &c.Linux.Namespaces[i]
		at := fmt.Sprintf("linux.namespaces[%d]", i)
		if !slices.Contains(namespaceTypes, string(n.Type)) {
			return refusal(at+".type", "%v", document.OneOf("namespace", string(n.Type), namespaceTypes))
		}
		if seen[n.Type] {
			return refusal(at, "a second namespace of the type %s", n.Type)
		}
		seen[n.Type] = true
		if n.Path != "" && !path.IsAbs(n.Path) {
			return refusal(at+".path", "%q is not an absolute path", n.Path)
		}
	}
	l := c.Linux
	switch {
	case !c.makes(specs.MountNamespace):
		return refusal("linux.namespaces", "a container needs a mount namespace of its own: its root would be made over that of others")
	case c.Hostname != "" && c.namespace(specs.UTSNamespace) == nil:
		return refusal("hostname", "unable to set hostname without a private UTS namespace")
	case c.Domainname != "" && c.namespace(specs.UTSNamespace) == nil:
		return refusal("domainname", "unable to set domainname without a private UTS namespace")
	case len(l.UIDMappings)+len(l.GIDMappings) > 0 && c.namespace(specs.UserNamespace) == nil:
		return refusal("linux.uidMappings", "user namespace mappings specified, but user namespace isn't enabled in the config")
	case c.makes(specs.UserNamespace) && (len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0):
		return refusal("linux.uidMappings", "a new user namespace needs uidMappings and gidMappings")
	case len(l.TimeOffsets) > 0 && !c.makes(specs.TimeNamespace):
		return refusal("linux.timeOffsets", "there is no new time namespace that they could be of")
	}
	if err := validateMapping("linux.uidMappings", l.UIDMappings); err != nil {
		return err
	}
	return validateMapping("linux.gidMappings", l.GIDMappings)
}

func validateMapping(at string, m []specs.LinuxIDMapping) error {
	root := len(m) == 0
	for i, e := range m {
		const end = 1 << 32
		if e.Size == 0 || uint64(e.ContainerID)+uint64(e.Size) > end || uint64(e.HostID)+uint64(e.Size) > end {
			return refusal(fmt.Sprintf("%s[%d]", at, i), "a range of %d ids from %d on host id %d is none", e.Size, e.ContainerID, e.HostID)
		}
		root = root || e.ContainerID == 0
	}
	if !root {
		return refusal(at, "id 0 of the container is not mapped: nobody could set it up")
	}
	return nil
}

// maxMounts keeps the image within what it holds.
const maxMounts = 600

func (c *config) validateMounts() error {
	if n := len(c.Mounts) + len(c.Linux.MaskedPaths) + len(c.Linux.ReadonlyPaths) + len(c.Linux.Devices); n > maxMounts {
		return refusal("mounts", "%d mounts, masked and read-only paths and devices are more than the %d that a container can have", n, maxMounts)
	}
	for _, l := range []struct {
		name  string
		paths []string
	}{{"linux.maskedPaths", c.Linux.MaskedPaths}, {"linux.readonlyPaths", c.Linux.ReadonlyPaths}} {
		for _, p := range l.paths {
			if !path.IsAbs(p) || path.Clean(p) == "/" {
				return refusal(l.name, "%q is not an absolute path below the root", p)
			}
		}
	}
	return nil
}

func (c *config) validateHooks() error {
	for name, hooks := range c.hooks() {
		for i, h := range hooks {
			if !path.IsAbs(h.Path) {
				return refusal(fmt.Sprintf("hooks.%s[%d].path", name, i), "%q is not an absolute path", h.Path)
			}
			if h.Timeout != nil && *h.Timeout <= 0 {
				return refusal(fmt.Sprintf("hooks.%s[%d].timeout", name, i), "%d is not a number of seconds above 0", *h.Timeout)
			}
		}
	}
	return nil
}

// hooks are all hooks, by their names.
func (c *config) hooks() map[string][]specs.Hook {
	if c.Hooks == nil {
		return nil
	}
	h := c.Hooks
	return map[string][]specs.Hook{
		//lint:ignore SA1019 engines still use it
		"prestart":      h.Prestart,
		"createRuntime": h.CreateRuntime, "createContainer": h.CreateContainer,
		"startContainer": h.StartContainer, "poststart": h.Poststart, "poststop": h.Poststop,
	}
}
