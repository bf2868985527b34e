package engines

import (
	"archive/tar"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// busyboxTar is the root file system of a small image: busybox, linked statically, and a
// name for each of its programs.
func busyboxTar(t testing.TB) string {
	t.Helper()
	needs.Programs(t, "busybox")
	file, err := busyboxOnce()
	if err != nil {
		needs.Skip(t, err.Error())
	}
	return file
}

var busyboxOnce = sync.OnceValues(func() (string, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	program, err := elf.Open(busybox)
	if err != nil {
		return "", err
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is not linked statically: install busybox-static", busybox)
		}
	}
	names, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		return "", err
	}
	file := filepath.Join(base, "busybox.tar")
	out, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	add := func(h *tar.Header, body string) {
		h.Size = int64(len(body))
		if err == nil {
			err = w.WriteHeader(h)
		}
		if err == nil {
			_, err = io.WriteString(w, body)
		}
	}
	for _, d := range []string{"bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr", "var", "var/tmp"} {
		add(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755}, "")
	}
	add(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	add(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(text))
	for name := range strings.FieldsSeq(string(names)) {
		if name != "busybox" {
			add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, "")
		}
	}
	add(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:ann:/home:/bin/sh\n")
	add(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, "root:x:0:\nann:x:1000:\nstaff:x:50:ann\n")
	if err != nil {
		return "", err
	}
	return file, w.Close()
})

// debianTar is a small Debian by debootstrap, made once and kept in the user's cache.
func debianTar(t testing.TB) string {
	t.Helper()
	needs.Programs(t, "debootstrap", "tar", "unshare")
	file, err := debianOnce()
	if err != nil {
		needs.Skip(t, err.Error())
	}
	return file
}

var debianOnce = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "cloche", "engines")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	file := filepath.Join(cache, "bookworm.tar")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	root := filepath.Join(base, "bookworm")
	defer os.RemoveAll(root)
	// What debootstrap mounts is gone with its namespaces.
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "debootstrap", "--variant=minbase", "--include=procps", "bookworm", root, "http://deb.debian.org/debian")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("debootstrap can't make an image (is a mirror of Debian's within reach?): %w: %s", err, out[max(0, len(out)-500):])
	}
	cmd = exec.Command("tar", "--create", "--file", file+".new", "--directory", root, "--exclude", "./var/cache/apt/*", "--exclude", "./var/lib/apt/lists/*", "--exclude", "./usr/share/doc/*", "--exclude", "./usr/share/locale/*", ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w: %s", cmd, err, out)
	}
	return file, os.Rename(file+".new", file)
})
