package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// container is an OCI runtime with a bundle that is the same sandbox: all
// namespaces, read-only system directories, fresh /proc, /dev and /tmp.
func container(name, dir string) *contender {
	what := "OCI runtime: the same namespaces and mounts, no filter"
	path, err := exec.LookPath(name)
	if err != nil {
		return &contender{name: name, what: what, missing: errors.New("it is not installed")}
	}
	bundle := filepath.Join(dir, name)
	if err := writeBundle(bundle); err != nil {
		return &contender{name: name, what: what, missing: err}
	}
	id := fmt.Sprintf("cloche-bench-%s-%d", name, os.Getpid())
	return &contender{name: name, what: what, argv: []string{path, "--root", filepath.Join(dir, name+"-state"), "run", "--bundle", bundle, id}}
}

func writeBundle(bundle string) error {
	root := filepath.Join(bundle, "rootfs")
	type object = map[string]any
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc", "options": []string{"nosuid", "nodev", "noexec"}},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
		{"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": []string{"newinstance", "ptmxmode=0666", "mode=620"}},
		{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "nodev", "mode=1777"}},
	}
	for _, d := range []string{"proc", "dev", "tmp"} {
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
	config := object{
		"ociVersion": "1.0.2",
		"root":       object{"path": "rootfs", "readonly": true},
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "cwd": "/", "args": []string{"/bin/true"},
			"env": []string{"PATH=/usr/bin:/bin"}, "noNewPrivileges": true,
		},
		"mounts": mounts,
		"linux": object{
			"namespaces":  []object{{"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}},
			"uidMappings": ids(os.Getuid()), "gidMappings": ids(os.Getgid()),
		},
	}
	data, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), data, 0o644)
}
