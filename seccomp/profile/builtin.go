package profile

import "github.com/cloche-sandbox/cloche/seccomp"

// Names are the profiles that come with Cloche: those of [seccomp.Builtins] and docker.
func Names() []string {
	names := [...]string{"default", "build", "strict", "docker", "none"}
	return names[:]
}

// Named returns one of [Names], as it is on a host, and its architectures, the host's
// first. ok is false where there is none of that name.
func Named(name string, host Host) (p seccomp.Profile, archs []seccomp.Arch, ok bool) {
	if name == "docker" {
		p, archs, err := Docker(host)
		return p, archs, err == nil
	}
	p, ok = seccomp.Builtin(name)
	return p, []seccomp.Arch{host.Arch}, ok
}
