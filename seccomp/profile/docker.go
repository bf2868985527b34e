package profile

import (
	_ "embed" // docker.json

	"github.com/cloche-sandbox/cloche/seccomp"
)

//go:generate go run ./internal/gendocker

// docker.json holds the rules of Docker's default profile, as published by
// github.com/moby/profiles/seccomp v0.3.0 (default.json).
//
//go:embed docker.json
var dockerFile []byte

// Docker returns Docker's default profile for a host: which of its rules hold
// depends on the architecture, the capabilities and the kernel's version.
func Docker(host Host) (seccomp.Profile, []seccomp.Arch, error) {
	p, archs, _, err := ReadOCI("docker.json", dockerFile, host)
	p.Name, p.Description = "docker", "Docker's default profile (moby/profiles seccomp v0.3.0)"
	return p, archs, err
}
