package profile

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

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

// Precompiled is the program of one of [Names], compiled when this package was generated:
// nothing is read or compiled for it. That of docker is for a command that keeps no
// capability, on Linux 4.8 or later. It is shared and must not be changed.
func Precompiled(name, goarch string) (prog []unix.SockFilter, ok bool) {
	switch name + "/" + goarch {
	case "docker/amd64":
		return dockerAMD64[:], true
	case "docker/arm64":
		return dockerARM64[:], true
	}
	return seccomp.Precompiled(name, goarch)
}
