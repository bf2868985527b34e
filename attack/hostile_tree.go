package attack

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A tree that somebody else filled, and in which the policy has something mounted.

// A mount point that is missing has to be made. By a path it is made where a link in
// the tree leads, before there is a sandbox: on the host.
var linkAboveMountPoint = Attack{
	Name: "link-above-mount-point", Group: "mounts", Reference: "CVE-2026-87766, CVE-2021-30465",
	Tries:   "have a mount point made through a link in a hostile tree, outside",
	Given:   []string{"overlay /m:lower=$DIR/image", "tmpfs /m/data/new"},
	Stops:   []Stop{{SetUp, NotMade}},
	Needs:   noUserNamespaces,
	Outside: func(o *Outside) error { return o.image(nil, map[string]string{"data": o.Dir + "/prey"}) },
	Inside:  func(*Inside) error { return NotFound("anything to do: it happens before") },
	Escaped: func(o *Outside) bool { return o.Exists("prey/new") },
}

// What is hidden behind a link is where the link leads to inside. Looked up outside, it
// is somewhere else or nowhere, and stays in sight.
var linkAboveHidden = Attack{
	Name: "link-above-hidden-file", Group: "mounts", Reference: "CVE-2019-19921, CVE-2025-52881",
	Tries: "read a file that is hidden by a name behind a link in a hostile tree",
	Given: []string{"bind $DIR/image:/m", "hide /m/a/secret"},
	Stops: []Stop{{SetUp, "EACCES"}},
	Door:  []string{"landlock off"},
	Needs: noUserNamespaces,
	Outside: func(o *Outside) error {
		return o.image(map[string]string{"real/secret": o.Secret, "dev/null": ""}, map[string]string{"a": "/m/real"})
	},
	Inside: func(in *Inside) error { return in.TakeFile("/m/a/secret") },
}

// What masks must be a device or a file that set-up made. The image's own /dev/null may
// be a link: then it uncovers what it should cover with.
var linkAsDevNull = Attack{
	Name: "link-as-dev-null", Group: "mounts", Reference: "CVE-2025-31133",
	Tries: "have a mask made of a hostile tree's /dev/null, which is a link to a file outside",
	Given: []string{"bind $DIR/image:/m", "hide /m/masked"},
	Stops: []Stop{{SetUp, "EACCES"}},
	Door:  []string{"landlock off"},
	Needs: noUserNamespaces,
	Outside: func(o *Outside) error {
		if err := o.image(map[string]string{"masked": "", "dev/x": ""}, map[string]string{"dev/null": o.Dir + "/prey/file"}); err != nil {
			return err
		}
		_, err := o.SecretFile("prey/file")
		return err
	},
	Inside: func(in *Inside) error { return in.TakeFile("/m/masked") },
}

// A name that is to be kept from being written must be kept also while nobody has
// made it. Whoever leaves out what is not there lets the command make it.
var missingName = Attack{
	Name: "missing-guarded-name", Group: "mounts", Reference: "CVE-2026-25725",
	Tries:   "make a file that is guarded and does not exist yet, for programs outside to find",
	Given:   []string{"write $DIR/prey", "hide $DIR/prey/settings"},
	Stops:   []Stop{{SetUp, NotMade}},
	Needs:   noUserNamespaces,
	Outside: func(o *Outside) error { o.Tell("path", o.Dir+"/prey/settings"); return o.image(nil, nil) },
	Inside: func(in *Inside) error {
		if err := os.WriteFile(in.Arg("path"), []byte(hostileSettings), 0o600); err != nil {
			return Failed(err)
		}
		return nil
	},
	// A sandbox may make an empty file there itself, to mount on.
	Escaped: func(o *Outside) bool {
		b, _ := os.ReadFile(filepath.Join(o.Dir, "prey/settings"))
		return string(b) == hostileSettings
	},
}

const hostileSettings = "run = hostile"

// A tree that is the root has a /dev of its own, which may be a link. What is made
// through it by a path is made outside.
var linkAsDev = Attack{
	Name: "link-as-dev", Group: "mounts", Reference: "CVE-2021-30465, CVE-2025-52565",
	Tries: "have the devices of /dev made through a link in a hostile root, outside",
	Given: []string{"root $DIR/image"},
	Stops: []Stop{{SetUp, NotMade}},
	Needs: noUserNamespaces,
	Outside: func(o *Outside) error {
		return o.rootImage(map[string]string{"proc/x": ""}, map[string]string{"dev": o.Dir + "/prey"})
	},
	Inside:  func(*Inside) error { return NotFound("anything to do: it happens before") },
	Escaped: func(o *Outside) bool { return o.Exists("prey/null") },
}

// Set-up writes files of /proc about itself (id maps, labels). Where the root's own /proc
// is a link, they may be somebody else's.
var linkAsProc = Attack{
	Name: "link-as-proc", Group: "mounts", Reference: "CVE-2019-19921, CVE-2025-52881",
	Tries: "have set-up write to a file outside, through a link that is /proc in a hostile root",
	Given: []string{"root $DIR/image"},
	Stops: []Stop{{SetUp, NotMade}},
	Needs: noUserNamespaces,
	Outside: func(o *Outside) error {
		if err := o.rootImage(map[string]string{"dev/x": ""}, map[string]string{"proc": o.Dir + "/prey"}); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(o.Dir, "prey/self"), 0o700); err != nil {
			return err
		}
		_, err := o.SecretFile("prey/self/comm")
		return err
	},
	Inside:  func(*Inside) error { return NotFound("anything to do: it happens before") },
	Escaped: func(o *Outside) bool { return o.Changed("prey/self/comm") },
}

// The terminal of a command is mounted on /dev/console. A link in the place of what is
// mounted there has something else mounted, before masks are.
var linkAsTerminal = Attack{
	Name: "link-as-terminal", Group: "mounts", Reference: "CVE-2025-52565",
	Tries: "have a file outside mounted as the console, by a link that is a terminal in a hostile root",
	Given: []string{"root $DIR/image"},
	Stops: []Stop{{SetUp, "ENOENT"}},
	Door:  []string{"landlock off"},
	Needs: noUserNamespaces,
	Outside: func(o *Outside) error {
		err := o.rootImage(map[string]string{"proc/x": "", "dev/console": ""}, map[string]string{"dev/pts/0": o.Dir + "/prey/file"})
		if err != nil {
			return err
		}
		_, err = o.SecretFile("prey/file")
		return err
	},
	Inside: func(in *Inside) error { return in.TakeFile("/dev/console") },
}

// Between a look at a name and its use somebody outside who may write to the tree puts
// a link in its place. What is mounted on is what was opened, whatever its name is now.
var swappedMountPoint = Attack{
	Name: "swapped-mount-point", Group: "mounts", Reference: "CVE-2021-30465, CVE-2025-31133",
	Tries: "swap a directory for a link while set-up makes mount points in it, to have them made outside",
	Given: func() (flags []string) {
		flags = []string{"overlay /m:lower=$DIR/image"}
		for i := range 60 {
			flags = append(flags, "tmpfs /m/data/"+strconv.Itoa(i))
		}
		return flags
	}(),
	Races: true,
	Stops: []Stop{{SetUp, Unharmed}},
	Needs: noUserNamespaces,
	Outside: func(o *Outside) error {
		if err := o.image(map[string]string{"data/x": ""}, map[string]string{"link": o.Dir + "/prey"}); err != nil {
			return err
		}
		data, link := filepath.Join(o.Dir, "image/data"), filepath.Join(o.Dir, "image/link")
		over, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-over:
					return
				default:
				}
				_ = unix.Renameat2(unix.AT_FDCWD, data, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
				time.Sleep(200 * time.Microsecond)
			}
		}()
		o.Defer(func() { close(over); <-ended })
		return nil
	},
	Inside: func(*Inside) error { return nil },
	Escaped: func(o *Outside) bool {
		made, err := os.ReadDir(filepath.Join(o.Dir, "prey"))
		return err != nil || len(made) > 0
	},
}

// What the caller names in a tree that the command may write, the command may have made
// a link of, the last time.
var linkAsSource = Attack{
	Name: "link-as-source", Group: "mounts", Reference: "CVE-2017-1002101, CVE-2021-25741",
	Tries: "be shown a file outside, by a link that an earlier command left where the policy names a directory",
	Given: []string{"write $DIR/image", "bind $DIR/image/data:/m"},
	Stops: []Stop{{SetUp, NotMade}},
	Needs: noUserNamespaces,
	Outside: func(o *Outside) error {
		if err := o.image(nil, map[string]string{"data": o.Dir + "/prey"}); err != nil {
			return err
		}
		_, err := o.SecretFile("prey/file")
		return err
	},
	Inside: func(in *Inside) error { return in.TakeFile("/m/file") },
}

// rootImage is image for a tree that is the root.
func (o *Outside) rootImage(files, links map[string]string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range []string{exe, "usr/x", "etc/x"} {
		files[name] = ""
	}
	return o.image(files, links)
}

// image makes a tree "image" of files and links, by name, and an empty directory "prey"
// beside it.
func (o *Outside) image(files, links map[string]string) error {
	if err := os.Mkdir(filepath.Join(o.Dir, "prey"), 0o700); err != nil {
		return err
	}
	root := filepath.Join(o.Dir, "image")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for name, to := range links {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(to, at); err != nil {
			return err
		}
	}
	return nil
}
