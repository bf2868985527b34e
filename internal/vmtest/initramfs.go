package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// machine is what qemu boots.
type machine struct {
	kernel  string // file
	initrd  string // file
	version string // of the kernel's package
}

// modules that a host has loaded, or loads when asked: there is no udev in a guest.
// Each stands after those that it needs.
var modules = []string{
	"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
	"overlay", "fuse", "veth", "tun", "af_alg", "algif_hash", "crypto_user", "vsock", "x_tables", "nfnetlink",
}

// make makes a guest's kernel and initramfs.
func (m *maker) make(g *guest, opt options) (*machine, error) {
	m.making.Lock()
	defer m.making.Unlock()
	unlock, err := m.lock("make")
	if err != nil {
		return nil, err
	}
	defer unlock()
	a, err := m.apt(g.suite, g.arch)
	if err != nil {
		return nil, err
	}
	target := ""
	if strings.HasSuffix(g.suite, "-backports") {
		target = g.suite
	}
	kernelFiles, err := a.fetch(target, []string{g.kernel()})
	if err != nil {
		return nil, err
	}
	kernelFiles = slices.DeleteFunc(kernelFiles, func(f string) bool { return !strings.Contains(filepath.Base(f), "linux-image-") })
	kdir, err := m.unpacked("kernel-"+g.suite+"-"+g.arch, kernelFiles, nil)
	if err != nil {
		return nil, err
	}
	userFiles, err := a.fetch("", g.packages)
	if err != nil {
		return nil, err
	}
	user, err := m.unpacked("user-"+g.userland(), userFiles, finishUserland)
	if err != nil {
		return nil, err
	}
	kernels, _ := filepath.Glob(filepath.Join(kdir, "boot/vmlinuz-*"))
	if len(kernels) != 1 {
		return nil, fmt.Errorf("%s: %d kernels in it", g.kernel(), len(kernels))
	}
	base := user + ".cpio"
	if newer(user+".key", base) {
		if err := writeArchive(base, func(a *archive) error { return a.tree("guest", user) }); err != nil {
			return nil, err
		}
	}
	own := filepath.Join(m.cache, g.name+".own.cpio")
	if err := writeArchive(own, func(a *archive) error { return m.ownPart(a, g, kdir, opt) }); err != nil {
		return nil, err
	}
	initrd := filepath.Join(m.cache, g.name+".initrd")
	if err := concatenate(initrd, base, own); err != nil {
		return nil, err
	}
	return &machine{kernel: kernels[0], initrd: initrd, version: strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")}, nil
}

// userland is the name of what has the guest's packages unpacked; guests share it.
func (g *guest) userland() string {
	name := g.suite + "-" + g.arch
	switch {
	case g.systemd:
		name += "-systemd"
	case slices.Contains(g.packages, "docker.io"):
		name += "-docker"
	}
	return name
}

func newer(a, b string) bool {
	fa, err := os.Stat(a)
	if err != nil {
		return true
	}
	fb, err := os.Stat(b)
	return err != nil || fa.ModTime().After(fb.ModTime())
}

func writeArchive(name string, fill func(a *archive) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	a := newArchive(f)
	if err := fill(a); err != nil {
		return err
	}
	if err := a.close(); err != nil {
		return err
	}
	return f.Close()
}

func concatenate(name string, parts ...string) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	for _, p := range parts {
		in, err := os.Open(p)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		in.Close()
		if err != nil {
			return err
		}
	}
	return out.Close()
}

// Job is what init carries out; package guest reads it.
type Job struct {
	Modules []string // files to load
	Setup   []string
	Systemd bool // it becomes pid 1, and runs the tests as a service
	Tests   []JobTests
}

// JobTests is one test program, with its directory and arguments.
type JobTests struct {
	Dir  string
	Args []string
	User bool // in a login session of the ordinary user's
}

// ownPart is what changes with the module: init, modules, test programs with their testdata.
func (m *maker) ownPart(a *archive, g *guest, kernel string, opt options) error {
	job := Job{Setup: g.setup, Systemd: g.systemd}
	for _, name := range modules {
		found, err := moduleFile(kernel, name)
		if err != nil {
			return err
		}
		if found == "" {
			continue // built in, or not there
		}
		at := filepath.Join("modules", filepath.Base(found))
		if err := a.file(at, found); err != nil {
			return err
		}
		job.Modules = append(job.Modules, "/"+at)
	}
	root, err := goOutput(g.arch, "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	init, err := m.executable(g.arch, "init", "build", "./internal/vmtest/guest")
	if err != nil {
		return err
	}
	if err := a.file("init", init); err != nil {
		return err
	}
	cloche, err := m.executable(g.arch, "cloche", "build", "./cmd/cloche")
	if err != nil {
		return err
	}
	if err := a.file("guest/usr/local/bin/cloche", cloche); err != nil {
		return err
	}
	if err := a.file("guest/etc/apparmor.d/cloche", filepath.Join(root, "packaging/apparmor/cloche")); err != nil {
		return err
	}
	chosen := g.tests
	if opt.quick {
		chosen = quickly
	}
	if opt.table {
		opt.sh = g.doctors()
	}
	if opt.sh != "" {
		job.Tests, chosen = []JobTests{{Dir: "/", Args: []string{"/bin/sh", "-c", opt.sh}}}, nil
	}
	there := map[string]bool{}
	for _, t := range chosen {
		exe, err := m.executable(g.arch, strings.ReplaceAll(t.dir, "/", "-")+".test", "test", "-c", "./"+t.dir)
		if err != nil {
			return err
		}
		at := filepath.Join("guest/suite", t.dir)
		if !there[exe] { // else for other arguments
			if err := a.file(filepath.Join(at, filepath.Base(exe)), exe); err != nil {
				return err
			}
			there[exe] = true
		}
		if data := filepath.Join(root, t.dir, "testdata"); isDir(data) && !a.dirs[filepath.Join(at, "testdata")] {
			if err := a.tree(filepath.Join(at, "testdata"), data); err != nil {
				return err
			}
		}
		args := []string{"./" + filepath.Base(exe), "-test.v=test2json", "-test.timeout=10m"}
		switch {
		case opt.run != "":
			args = append(args, "-test.run="+opt.run)
		case t.run != "":
			args = append(args, "-test.run="+t.run)
		}
		job.Tests = append(job.Tests, JobTests{Dir: "/suite/" + t.dir, Args: args, User: t.user})
	}
	if len(g.checks) > 0 && opt.sh == "" {
		job.Tests = append(job.Tests, JobTests{Dir: "/", Args: []string{"/bin/sh", "-c", script(g.checks)}})
	}
	if g.systemd {
		for name, text := range systemdFiles {
			a.bytes("guest/"+name, 0o644, []byte(text))
		}
		a.symlink("guest/etc/systemd/system/multi-user.target.wants/cloche-tests.service", "../cloche-tests.service")
	}
	b, err := json.Marshal(job)
	if err != nil {
		return err
	}
	a.bytes("job.json", 0o644, b)
	return nil
}

// executable has the go command make an executable for an architecture, once.
func (m *maker) executable(arch, name string, args ...string) (string, error) {
	exe := filepath.Join(m.build, arch, name)
	if m.built[exe] {
		return exe, nil
	}
	last := len(args) - 1
	if _, err := goOutput(arch, append(slices.Clone(args[:last]), "-o", exe, args[last])...); err != nil {
		return "", err
	}
	m.built[exe] = true
	return exe, nil
}

// script carries checks out, and says what came of them as a test program does.
func script(checks []check) string {
	var s strings.Builder
	for i, c := range checks {
		who, name := "root", fmt.Sprintf("Check/%d", i+1)
		if c.user {
			who = "tester"
		}
		fmt.Fprintf(&s, "echo '=== RUN   %s'\nout=$(setpriv --reuid %s --regid %s --init-groups sh -c %s 2>&1); rc=$?\n", name, who, who, quote("cd /tmp; "+c.run))
		fmt.Fprintf(&s, "if [ $rc = %d ] && printf '%%s\\n' \"$out\" | grep -Eq -e %s; then echo '--- PASS: %s (0.00s)'\n", c.status, quote(c.says), name)
		fmt.Fprintf(&s, "else echo \"    check.go:1: %s: \"%s\": status $rc, $out\" | tr '\\n' ' '; echo; echo '--- FAIL: %s (0.00s)'; fi\n", who, quote(c.run), name)
	}
	return s.String() + "echo PASS\n"
}

// quote makes one word of the shell's.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func isDir(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}

// moduleFile finds a module, also by the other way of writing its name.
func moduleFile(kernel, name string) (string, error) {
	found := ""
	for _, n := range []string{name, strings.ReplaceAll(name, "_", "-")} {
		out, err := exec.Command("find", filepath.Join(kernel, "lib/modules"), "-name", n+".ko*").Output()
		if err != nil {
			return "", err
		}
		if line, _, _ := strings.Cut(string(out), "\n"); line != "" {
			found = line
		}
	}
	return found, nil
}

// goOutput runs the go command in the module's root, for another architecture maybe.
func goOutput(arch string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	// Without tables for debuggers a third less is linked, and unpacked by the guest.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -ldflags=-s -ldflags=-w"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}
