package attack

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Mounts propagate between the copies of a mount that is shared, as systemd makes all of
// them: what somebody mounts outside would come in, and the other way round.

var privateMounts = &Layer{Name: "private mounts", Step: "keep mounts private"}

var mountComesIn = Attack{
	Name: "mount-propagates-in", Group: "mounts", Reference: "mount_namespaces(7) shared subtrees",
	Tries: "see what is mounted outside while the sandbox runs",
	Door:  []string{"write $DIR"},
	Stops: []Stop{{privateMounts, Hidden}},
	Needs: needsMounts,
	Outside: func(o *Outside) error {
		at, err := o.sharedMount()
		if err != nil {
			return err
		}
		over := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for !o.Exists("go") {
				select {
				case <-over:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			// Many, as Linux 6.18 misses some when other namespaces end meanwhile, on a busy machine ten in a row.
			for i := range attempts {
				later := filepath.Join(at, "later", strconv.Itoa(i))
				if os.Mkdir(later, 0o700) == nil && unix.Mount("none", later, "tmpfs", 0, "") == nil {
					_ = os.WriteFile(filepath.Join(later, "file"), []byte(o.Secret), 0o600)
				}
				time.Sleep(5 * time.Millisecond)
			}
			_ = os.WriteFile(filepath.Join(o.Dir, "mounted"), nil, 0o600)
		}()
		o.Defer(func() { close(over); <-ended })
		return nil
	},
	Inside: func(in *Inside) error {
		if err := os.WriteFile(filepath.Join(in.Arg("dir"), "go"), nil, 0o600); err != nil {
			return Failed(err)
		}
		for range 1000 {
			if _, err := os.Stat(filepath.Join(in.Arg("dir"), "mounted")); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		for i := range attempts {
			if in.TakeFile(filepath.Join(in.Arg("dir"), "shared/later", strconv.Itoa(i), "file")) == nil {
				return nil
			}
		}
		return NotFound("what was mounted")
	},
}

// To a mount namespace that another user namespace owns, all mounts are slaves (kernel:
// filesystems/sharedsubtree): nothing gets out of it in any case.
var mountGoesOut = Attack{
	Name: "mount-propagates-out", Group: "mounts", Reference: "mount_namespaces(7) shared subtrees",
	Tries: "mount something where programs outside see it",
	Door:  []string{"write $DIR", "seccomp none", "landlock off"},
	Stops: []Stop{{privateMounts, Unharmed}, {UserNamespace, Unharmed}, {Capabilities, "EPERM"}},
	Needs: needsMounts,
	Outside: func(o *Outside) error {
		_, err := o.sharedMount()
		return err
	},
	Inside: func(in *Inside) error {
		_, err := Call(unix.SYS_MOUNT, pathOf("cloche-attack"), pathOf(filepath.Join(in.Arg("dir"), "shared/later")), pathOf("tmpfs"), 0, 0)
		return err
	},
	Escaped: func(o *Outside) bool {
		b, _ := os.ReadFile("/proc/self/mountinfo")
		return bytes.Contains(b, []byte(o.Dir+"/shared/later "))
	},
}

const attempts = 100

var needsMounts = onlyRootMounts("only root may mount something outside")

// sharedMount makes one at "shared" in Dir, with a directory "later" in it.
func (o *Outside) sharedMount() (string, error) {
	at := filepath.Join(o.Dir, "shared")
	o.Tell("dir", o.Dir)
	if err := os.MkdirAll(filepath.Join(at, "later"), 0o700); err != nil {
		return "", err
	}
	if err := unix.Mount(at, at, "", unix.MS_BIND, ""); err != nil {
		return "", os.NewSyscallError("mount", err)
	}
	o.Defer(func() {
		_ = unix.Unmount(at, unix.MNT_DETACH) // and what is below
	})
	return at, os.NewSyscallError("mount", unix.Mount("", at, "", unix.MS_SHARED, ""))
}
