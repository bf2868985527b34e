package cli

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// fakeHost is a machine in a test: files by path, and directories for them.
type fakeHost map[string]fakeFile

type fakeFile struct {
	mode     uint32 // with the type; 0: a regular file 0644
	uid, gid uint32
	link     string
	text     string
	acl      []byte
	flags    int64
}

func (h fakeHost) lstat(p string) (inode, error) {
	if f, ok := h[p]; ok {
		switch {
		case f.link != "":
			f.mode = unix.S_IFLNK | 0o777
		case f.mode == 0:
			f.mode = unix.S_IFREG | 0o644
		case f.mode&unix.S_IFMT == 0:
			f.mode |= unix.S_IFREG
		}
		return inode{mode: f.mode, uid: f.uid, gid: f.gid}, nil
	}
	for name := range h {
		if p == "/" || strings.HasPrefix(name, p+"/") {
			return inode{mode: unix.S_IFDIR | 0o755}, nil
		}
	}
	return inode{}, unix.ENOENT
}

func (h fakeHost) readlink(p string) (string, error) { return h[p].link, nil }
func (h fakeHost) acl(p string) []byte               { return h[p].acl }
func (h fakeHost) mountFlags(p string) int64         { return h[p].flags }

func (h fakeHost) open(p string) (file, error) {
	f, ok := h[p]
	if !ok {
		return nil, unix.ENOENT
	}
	return fakeOpen{bytes.NewReader([]byte(f.text))}, nil
}

func (h fakeHost) glob(pattern string) []string {
	var names []string
	for name := range h {
		if ok, _ := path.Match(pattern, name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

type fakeOpen struct{ *bytes.Reader }

func (fakeOpen) Close() error { return nil }

// small is a policy that shows /usr and a project, as default does.
func small(mounts ...policy.Mount) *policy.Policy {
	p := policy.New()
	p.Mounts = append([]policy.Mount{
		{Kind: policy.Read, Path: "/usr", Origin: "small.toml:1"},
		{Kind: policy.Read, Path: "/bin", Optional: true, Origin: "small.toml:2"},
		{Kind: policy.Read, Path: "/home/u/proj", Origin: "small.toml:3"},
		{Kind: policy.Tmpfs, Path: "/tmp", Mode: 0o1777, Origin: "small.toml:4"},
		{Kind: policy.Dev, Path: "/dev", Origin: "small.toml:5"},
		{Kind: policy.Proc, Path: "/proc", Origin: "small.toml:6"},
	}, mounts...)
	p.Cwd = "/home/u/proj"
	p.Env.Set = map[string]string{"PATH": "/usr/bin:/bin"}
	return p
}

// user is uid 1000, as whom most tests look at things.
var user = credentials{uid: 1000, gid: 1000, groups: []uint32{1000}}

func viewOf(p *policy.Policy, h hostFS, who credentials) *view {
	if err := policy.Expand(p, "/home/u", "/home/u/proj"); err != nil {
		panic(err)
	}
	return newView(p, h, who, who, 7)
}

func dirOf(mode, uid uint32) fakeFile {
	return fakeFile{mode: unix.S_IFDIR | mode, uid: uid, gid: uid}
}

func executable(text string) fakeFile { return fakeFile{mode: 0o755, text: text} }

func someHost() fakeHost {
	return fakeHost{
		"/bin":                     {link: "usr/bin"},
		"/lib64":                   {link: "usr/lib64"},
		"/usr/bin/sh":              executable("\x7fELF"),
		"/usr/bin/env":             executable("\x7fELF"),
		"/usr/bin/root-only":       {mode: 0o700},
		"/usr/lib64/x":             {},
		"/etc/passwd":              {},
		"/etc/shadow":              {mode: 0o640, gid: 42},
		"/home/u":                  dirOf(0o755, 1000),
		"/home/u/proj":             dirOf(0o755, 1000),
		"/home/u/proj/run.py":      executable("#!/usr/bin/env python3\n"),
		"/home/u/proj/hidden.sh":   executable("#! /opt/tool/bin/sh -e\n"),
		"/home/u/proj/nowhere.sh":  executable("#!/opt/nowhere\n"),
		"/home/u/proj/relative.sh": executable("#!bin/sh\n"),
		"/home/u/proj/plain":       {},
		"/home/u/proj/sub/x":       {},
		"/home/u/proj/out":         {link: "/etc/passwd"},
		"/home/u/proj/in":          {link: "sub/../plain"},
		"/home/u/proj/circle":      {link: "circle"},
		"/home/u/proj/dangling":    {link: "/tmp/made"},
		"/home/u/bin/tool":         executable("\x7fELF"),
		"/home/u/.ssh":             dirOf(0o700, 1000),
		"/home/u/.ssh/id":          {mode: 0o600, uid: 1000},
		"/opt/tool/bin/sh":         executable("\x7fELF"),
		"/dev/null":                {mode: unix.S_IFCHR | 0o666},
		"/dev/tty":                 {mode: unix.S_IFCHR | 0o666},
		"/dev/sda":                 {mode: unix.S_IFBLK | 0o660},
		"/proc/self/status":        {mode: 0o444, uid: 1000},
		"/proc/self/mem":           {mode: 0o600, uid: 1000},
		"/proc/cpuinfo":            {mode: 0o444},
		"/proc/sys/kernel/x":       {mode: 0o644},
		"/proc/kcore":              {mode: 0o400},
	}
}
