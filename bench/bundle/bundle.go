// Package bundle makes OCI bundles for benchmarks: the same sandbox as the other contenders
// make.
package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Bundle is what to make.
type Bundle struct {
	Args    []string        // of the container's process
	Files   string          // directory that becomes /files inside, read-only; "": none
	Seccomp json.RawMessage // linux.seccomp; nil: no filter
}

// Write makes a bundle at dir: all namespaces, read-only system directories, fresh /proc,
// /dev and /tmp.
func (b *Bundle) Write(dir string) error {
	root := filepath.Join(dir, "rootfs")
	type object = map[string]any
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc", "options": []string{"nosuid", "nodev", "noexec"}},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
		{"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": []string{"newinstance", "ptmxmode=0666", "mode=620"}},
		{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "nodev", "mode=1777"}},
	}
	dirs := []string{"proc", "dev", "tmp"}
	if b.Files != "" {
		dirs = append(dirs, "files")
		mounts = append(mounts, object{"destination": "/files", "type": "bind", "source": b.Files, "options": []string{"bind", "ro", "nosuid"}})
	}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"bin", "etc", "lib", "lib64", "sbin", "usr"} {
		if to, err := os.Readlink("/" + d); err == nil {
			if err := os.Symlink(to, filepath.Join(root, d)); err != nil {
				return err
			}
			continue
		}
		if _, err := os.Stat("/" + d); err != nil {
			continue
		}
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
		mounts = append(mounts, object{"destination": "/" + d, "type": "bind", "source": "/" + d, "options": []string{"rbind", "ro", "nosuid"}})
	}
	ids := func(id int) []object { return []object{{"containerID": 0, "hostID": id, "size": 1}} }
	linux := object{
		"namespaces":  []object{{"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}},
		"uidMappings": ids(os.Getuid()), "gidMappings": ids(os.Getgid()),
	}
	if b.Seccomp != nil {
		linux["seccomp"] = b.Seccomp
	}
	config := object{
		"ociVersion": "1.0.2",
		"root":       object{"path": "rootfs", "readonly": true},
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "cwd": "/", "args": b.Args,
			"env": []string{"PATH=/usr/bin:/bin"}, "noNewPrivileges": true,
		},
		"mounts": mounts,
		"linux":  linux,
	}
	data, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}
