package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maker makes guests in a directory of the user's cache, one at a time.
type maker struct {
	cache  string
	making sync.Mutex
	apts   map[string]*apt // by suite and architecture, with lists of today
	build  string          // directory of executables
	built  map[string]bool // those that are there
}

// lock keeps other vmtests out of a part of the cache until unlock is called.
func (m *maker) lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(m.cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock "+f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// debianMirror is where packages come from, with the keys that Debian's own
// package debian-archive-keyring installed.
const (
	debianMirror   = "http://deb.debian.org/debian"
	debianSecurity = "http://deb.debian.org/debian-security"
	debianKeys     = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// apt is an apt-get with lists and a state of its own: the host's stay as they are, and
// nothing counts as installed.
type apt struct{ dir, arch string }

func (m *maker) apt(suite, goarch string) (*apt, error) {
	if a := m.apts[suite+goarch]; a != nil {
		return a, nil
	}
	a := &apt{dir: filepath.Join(m.cache, "apt-"+suite+"-"+goarch), arch: map[string]string{"amd64": "amd64", "arm64": "arm64"}[goarch]}
	for _, d := range []string{"lists/partial", "archives/partial", "etc/preferences.d", "etc/apt.conf.d", "etc/sources.list.d"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	sources, release := "", strings.TrimSuffix(suite, "-backports")
	for _, s := range []string{release, release + "-updates", suite} {
		if line := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", debianKeys, debianMirror, s); !strings.Contains(sources, line) {
			sources += line
		}
	}
	sources += fmt.Sprintf("deb [signed-by=%s] %s %s-security main\n", debianKeys, debianSecurity, release)
	for name, text := range map[string]string{"etc/sources.list": sources, "status": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if err := a.run("update", "-q", "--error-on=any"); err != nil {
		return nil, err
	}
	m.apts[suite+goarch] = a
	return a, nil
}

// run runs apt-get.
func (a *apt) run(args ...string) error {
	_, err := a.output(args...)
	return err
}

func (a *apt) output(args ...string) (string, error) {
	options := []string{
		"-o", "Dir::State=" + a.dir, "-o", "Dir::State::status=" + a.dir + "/status", "-o", "Dir::State::lists=" + a.dir + "/lists",
		"-o", "Dir::Cache=" + a.dir, "-o", "Dir::Cache::archives=" + a.dir + "/archives", "-o", "Dir::Etc=" + a.dir + "/etc",
		"-o", "Dir::Etc::trusted=" + debianKeys, "-o", "Debug::NoLocking=1", "-o", "APT::Architecture=" + a.arch, "-o", "APT::Architectures=" + a.arch,
		"-o", "APT::Install-Recommends=false", "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none", "-o", "Acquire::Check-Valid-Until=false",
	}
	cmd := exec.Command("apt-get", append(options, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", &fetchError{fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, errs.String())}
	}
	return string(out), nil
}

// fetchError is a mirror that can't be reached, say: of the machine, not of a guest.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return "Debian's packages can't be had: " + e.err.Error() }

// fetch downloads packages with what they depend on, and returns the files. What is there
// already is not downloaded again.
func (a *apt) fetch(target string, packages []string) ([]string, error) {
	args := []string{"-y", "-q", "--download-only", "install"}
	if target != "" {
		args = append([]string{"-t", target}, args...)
	}
	uris, err := a.output(append(append(slices.Clone(args), "--print-uris"), packages...)...)
	if err != nil {
		return nil, err
	}
	if strings.Contains(uris, "'http") {
		if err := a.run(append(args, packages...)...); err != nil {
			return nil, err
		}
	}
	// With everything downloaded, apt names no URI any more: the simulation names the versions.
	sim, err := a.output(append(append(slices.Clone(args[:len(args)-2]), "-s", "install"), packages...)...)
	if err != nil {
		return nil, err
	}
	var files []string
	for line := range strings.Lines(sim) {
		f := strings.Fields(line) // Inst NAME (VERSION Debian:12/stable [amd64])
		if len(f) < 3 || f[0] != "Inst" {
			continue
		}
		version := strings.ReplaceAll(strings.TrimPrefix(f[2], "("), ":", "%3a")
		found, err := filepath.Glob(filepath.Join(a.dir, "archives", f[1]+"_"+version+"_*.deb"))
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("package %s %s was not downloaded", f[1], version)
		}
		files = append(files, found[0])
	}
	slices.Sort(files)
	return files, nil
}

// unpacked is a directory in the cache with these packages unpacked, made anew when one of
// them changed. finish does what their scripts would.
func (m *maker) unpacked(name string, files []string, finish func(dir string) error) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, layoutVersion)
	for _, f := range files {
		fmt.Fprintln(sum, filepath.Base(f))
	}
	dir := filepath.Join(m.cache, name)
	key := hex.EncodeToString(sum.Sum(nil))
	if had, err := os.ReadFile(dir + ".key"); err == nil && string(had) == key {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := makeUsrMerge(dir); err != nil {
		return "", err
	}
	for _, f := range files {
		if err := extract(f, dir); err != nil {
			return "", err
		}
	}
	for _, d := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/bug", "usr/share/lintian"} {
		if err := os.RemoveAll(filepath.Join(dir, d)); err != nil {
			return "", err
		}
	}
	if finish != nil {
		if err := finish(dir); err != nil {
			return "", err
		}
	}
	return dir, os.WriteFile(dir+".key", []byte(key), 0o644)
}

// extract unpacks a package as dpkg does: what has a directory /bin, where dir has a link to
// usr/bin, leaves the link and its files behind it. dpkg-deb --extract puts a directory there.
func extract(deb, dir string) error {
	from := exec.Command("dpkg-deb", "--fsys-tarfile", deb)
	to := exec.Command("tar", "--extract", "--keep-directory-symlink", "--no-same-owner", "--preserve-permissions", "--directory", dir)
	var errs strings.Builder
	from.Stderr, to.Stderr = &errs, &errs
	var err error
	if to.Stdin, err = from.StdoutPipe(); err != nil {
		return err
	}
	if err := from.Start(); err != nil {
		return err
	}
	if err := errors.Join(to.Run(), from.Wait()); err != nil {
		return fmt.Errorf("unpack %s: %w: %s", deb, err, errs.String())
	}
	return nil
}

// layoutVersion changes with what unpacked makes of the same packages.
const layoutVersion = "3"

// makeUsrMerge makes /bin and its like links into /usr, as Debian has them.
func makeUsrMerge(dir string) error {
	for _, d := range []string{"bin", "sbin", "lib", "lib64", "lib32", "libx32"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", d), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+d, filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	return nil
}

// finishUserland does what the scripts of base-passwd, debianutils and others do.
func finishUserland(dir string) error {
	for from, to := range map[string]string{
		"usr/share/base-passwd/passwd.master": "etc/passwd",
		"usr/share/base-passwd/group.master":  "etc/group",
	} {
		b, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			return err
		}
		b = append(b, map[string]string{
			"etc/passwd": "messagebus:x:101:101::/nonexistent:/usr/sbin/nologin\ntester:x:1000:1000::/home/tester:/bin/bash\n",
			"etc/group":  "messagebus:x:101:\ntester:x:1000:\nsystemd-journal:x:999:\n",
		}[to]...)
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o644); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/shadow": "root:*:19000:0:99999:7:::\ntester:*:19000:0:99999:7:::\n", "etc/gshadow": "root:*::\n", "etc/hostname": "guest\n", "etc/hosts": "127.0.0.1 localhost guest\n",
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "etc/subuid": "tester:100000:65536\n", "etc/subgid": "tester:100000:65536\n", "etc/fstab": "",
	} {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(name, "shadow") {
			mode = 0o640
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{"usr/bin/awk": "gawk", "usr/bin/sh": "dash", "usr/bin/which": "which.debianutils"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "root", "home/tester", "mnt", "var/tmp", "var/lib", "var/log", "etc/ssl/private", "srv", "opt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	return nil
}
