package plan

import "golang.org/x/sys/unix"

// containerReason is a table of what is known to go wrong in a container.
func containerReason(s *Step, call Call, e unix.Errno) (cause, remedy string) {
	switch s.Kind {
	case KindContainerRoot, KindContainerMount:
		switch {
		case call == Compare:
			return "it is not the file any more that was there when the container was planned", "something replaces it meanwhile: try again when it rests"
		case e == unix.ELOOP:
			return "a symbolic link is on the way to a place that none may lead to, or the links go in circles", "have the image hold a directory there, or name the place that the link leads to"
		case e == unix.EXDEV:
			return "something on the way leads out of the root file system", "name another destination"
		case e == unix.EAGAIN:
			return "directories on the way are being renamed all the time", "try again when they rest"
		case e == unix.EACCES:
			return "the ids that the container's root has on the host may not reach it", "open the directories on the way (chmod o+x), or give the file to those ids"
		case e == unix.EPERM:
			return "this kernel refuses the mount here: without privilege over the namespace that the file system belongs to, with flags that are locked, or for the filter of a container around this one", "leave the entry out, or bind what the host has"
		case e == unix.ENODEV:
			return "this kernel knows no such file system, or it is a module that is not loaded", "see /proc/filesystems"
		case e == unix.EINVAL && call == SysFsconfig:
			return "the file system knows no such option, or not this value", "see the entry's options"
		case e == unix.EINVAL && call == SysMountSetattr:
			return "this kind of file system can't be mounted so", "leave an idmap or the flag out"
		case e == unix.EROFS:
			return "there is nothing at the destination, and the root file system is read-only, so it can't be made", "have the image hold it"
		case e == unix.ENOENT:
			return "the source is gone, or a symbolic link on the way leads to nothing", "try again, or have the image hold the destination"
		case e == unix.ENOTDIR || call == SysMoveMount && e == unix.EINVAL:
			return "a directory can't be mounted on a file, nor a file on a directory", "name a destination of the source's kind"
		case e == unix.ENOSPC:
			return "the limit of mounts (fs.mount-max) is reached, or the file system is full", "ask for fewer mounts"
		}
	case KindContainerDevice:
		switch {
		case call == Compare || call == Branch:
			return "something else than this device is there", "leave it out of the image, or mount a tmpfs at /dev"
		case e == unix.EPERM:
			return "this user may make no device nodes", "have the host's bound: in a user namespace that is done"
		case e == unix.ENOENT:
			return "the host has no such device", "load its module, or leave it out"
		}
	case KindContainerProcess:
		switch {
		case call == Compare:
			return "what is mounted at /proc is no proc file system", "mount one (mount -t proc proc /proc)"
		case e == unix.ENOENT:
			return "this kernel has no such setting", "leave it out"
		case e == unix.EACCES || e == unix.EPERM:
			return "this user may not set it", "leave it out, or run as root with the capability that it needs"
		case e == unix.EINVAL:
			return "the kernel refuses the value", "choose another"
		case e == unix.EROFS:
			return "/proc is read-only here, as in a container", "run where it is not"
		}
	case KindJoin:
		switch e {
		case unix.EPERM:
			return "this user has no privilege over the namespace", "join its user namespace too, or run as root"
		case unix.EINVAL:
			return "it is no namespace of this kind, or its own can't be joined", "correct the path"
		}
	}
	return "", ""
}
