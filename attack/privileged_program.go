package attack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A program file can give whoever executes it the ids of its owner, or capabilities. It
// lies in a directory that the policy shows, and the attacker is an ordinary user.

var boundingSet = &Layer{Name: "capability bounding set", Step: "capability bounds"}

var setUIDProgram = Attack{
	Name: "set-uid-program", Group: "credentials", Reference: "execve(2), path: set-user-ID; CVE-2025-6019",
	Tries: "execute a program that is set-user-ID root",
	Door:  ordinaryAttacker,
	Stops: []Stop{{NoNewPrivs, Hidden}, {NoSuid, Hidden}, {UserNamespace, Hidden}},
	Needs: onlyRoot("only root can make such a program"),
	Outside: func(o *Outside) error {
		_, err := o.program(0o4755)
		return err
	},
	Inside: func(in *Inside) error { return in.gain("euid 0\n") },
}

// CAP_NET_ADMIN is in no set of an ordinary user's. It is one over the host's network here.
var fileCapabilities = Attack{
	Name: "file-capabilities", Group: "credentials", Reference: "capabilities(7), path: file capabilities",
	Tries: "execute a program whose file gives a capability",
	Door:  append([]string{"net host"}, ordinaryAttacker...),
	Stops: []Stop{{NoNewPrivs, Hidden}, {NoSuid, Hidden}, {UserNamespace, Hidden}, {boundingSet, "EPERM"}},
	Needs: onlyRoot("only root can make such a program"),
	Outside: func(o *Outside) error {
		path, err := o.program(0o755)
		if err != nil {
			return err
		}
		// struct vfs_cap_data, revision 2, with the effective bit: permitted is the second word.
		data := []byte{1, 0, 0, 2, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		return os.NewSyscallError("setxattr", unix.Setxattr(path, "security.capability", data, 0))
	},
	Inside: func(in *Inside) error { return in.gain("net_admin\n") },
}

// anOrdinaryUser is an id that no machine gives to anybody.
const anOrdinaryUser = 61359

// ordinaryAttacker is the door: without no_new_privs, and as no root, neither Landlock nor a
// filter can be had.
var ordinaryAttacker = []string{"write $DIR", fmt.Sprintf("user %d", anOrdinaryUser), "landlock off", "seccomp none"}

// program puts this program into Dir, for everybody to execute.
func (o *Outside) program(mode uint32) (string, error) {
	path := filepath.Join(o.Dir, "program")
	o.Tell("path", path)
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(to, from); err != nil {
		return "", err
	}
	if err := to.Close(); err != nil {
		return "", err
	}
	if err := os.Chmod(o.Dir, 0o755); err != nil {
		return "", err
	}
	return path, unix.Chmod(path, mode)
}

// gain executes the program, which says what it got.
func (in *Inside) gain(what string) error {
	cmd := exec.Command(in.Arg("path"), Arg, gainedRole)
	if os.Geteuid() == 0 { // root has nothing to gain: as somebody else, where it may be that
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anOrdinaryUser, Gid: anOrdinaryUser, NoSetGroups: true}}
	}
	out, err := cmd.Output()
	if err != nil {
		return Failed(err)
	}
	if !bytes.Contains(out, []byte(what)) {
		return NotFound("what the program gives: it got " + string(bytes.ReplaceAll(out, []byte("\n"), []byte(" "))))
	}
	return nil
}

// gained is the main of a program that may have got something by its file.
func gained() int {
	fmt.Printf("euid %d\n", os.Geteuid())
	// SO_MARK takes CAP_NET_ADMIN over the user namespace that the network belongs to.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1) == nil {
		fmt.Println("net_admin")
	}
	return 0
}
