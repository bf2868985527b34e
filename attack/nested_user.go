package attack

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The maps of a user namespace are written once, before anything runs in it.
var (
	idMapAgain = Attack{
		Name: "uid-map-again", Group: "credentials", Reference: "user_namespaces(7), defining user and group id mappings",
		Tries:   "write the sandbox's own map of user ids once more",
		Stops:   []Stop{{kernelItself, "EPERM"}},
		Unshown: "the kernel takes a map once",
		Inside: func(*Inside) error {
			f, err := os.OpenFile("/proc/self/uid_map", os.O_WRONLY, 0)
			if err != nil {
				return Failed(err)
			}
			defer f.Close()
			if _, err := f.WriteString("0 0 4294967295\n"); err != nil {
				return Failed(err)
			}
			return nil
		},
	}
	// In one of its own a process is root, over what it makes there.
	idMapOfOnesOwn = nested("uid-map-nested", "credentials", "user_namespaces(7)", "be root of a user namespace of one's own", []Stop{{Seccomp, "EPERM"}}, nil, func() error {
		if os.Geteuid() != 0 {
			return NotFound("uid 0")
		}
		_, err := Call(unix.SYS_SETHOSTNAME, pathOf("root"), 4) // of a uts namespace made in it
		return err
	})
	overlayNested = nested("overlay-nested", "mounts", "CVE-2021-3493, CVE-2023-0386", "mount an overlay as root of a user namespace of one's own",
		[]Stop{{Seccomp, "EPERM"}, {Landlock, "EPERM"}}, nil, func() error {
			for _, dir := range []string{"/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/merged"} {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return Failed(err)
				}
			}
			_, err := Call(unix.SYS_MOUNT, pathOf("overlay"), pathOf("/tmp/merged"), pathOf("overlay"), 0,
				pathOf("lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr"))
			return err
		})
	// A FUSE of the attacker's own answers the kernel what and when it likes. It needs the
	// device, which /dev inside has not.
	fuseNested = nested("fuse-nested", "mounts", "fuse(4), CVE-2023-0386", "mount a file system of one's own making as root of a user namespace of one's own",
		[]Stop{{Seccomp, "EPERM"}, {Landlock, "EPERM"}, {privateDev, "ENOENT"}}, withFuse(func() string { return "" }), func() error {
			if err := os.MkdirAll("/tmp/fuse", 0o700); err != nil {
				return Failed(err)
			}
			fd, err := unix.Open("/dev/fuse", unix.O_RDWR, 0)
			if err != nil {
				return Failed(err)
			}
			_, err = Call(unix.SYS_MOUNT, pathOf("fuse"), pathOf("/tmp/fuse"), pathOf("fuse"), 0, pathOf("fd="+strconv.Itoa(fd)+",rootmode=40000,user_id=0,group_id=0"))
			return err
		})
)

var privateDev = &Layer{Name: "/dev of its own", Off: []string{"read /dev/fuse"}}

// nested is an attack by a child in namespaces of its own: user, mount and uts.
func nested(name, group, reference, tries string, stops []Stop, needs func() string, child func() error) Attack {
	return Attack{
		Name: name, Group: group, Reference: reference, Tries: tries, Stops: stops,
		Needs: func() string {
			// Linux 5.12 and newer: to map uid 0 of where it comes from takes CAP_SETFCAP there.
			missing := ""
			if os.Geteuid() == 0 {
				missing = "uid 0 without CAP_SETFCAP may map itself nowhere"
			}
			if missing == "" {
				missing = noUserNamespaces()
			}
			if missing == "" && needs != nil {
				missing = needs()
			}
			return missing
		},
		Inside: func(*Inside) error {
			attr := &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
			}
			return childOf(name, attr)
		},
		Child: child,
	}
}

// childOf carries out the part of an attack that needs a process of its own, and
// returns what stopped it.
func childOf(name string, attr *syscall.SysProcAttr) error {
	cmd := exec.Command("/proc/self/exe", Arg, childRole, name)
	cmd.SysProcAttr = attr
	out, err := cmd.Output()
	if err != nil {
		return Failed(err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		return Failed(err)
	}
	if r.Failure != nil {
		return r.Failure
	}
	return nil
}
