// Package profile reads and writes seccomp profiles as files: Cloche's own TOML,
// and the JSON that Docker, containers-common and the OCI runtime spec use.
package profile
