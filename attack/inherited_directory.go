package attack

import "golang.org/x/sys/unix"

// A directory that stays open across the exec leads out of any root by "..". Cloche
// closes all descriptors but those that it was asked to pass on: this one was.
var directoryHandedIn = Attack{
	Name: "directory-handed-in", Group: "descriptors", Reference: "openat(2)",
	Tries:   "go up from a directory outside that was handed in, to a file beside it",
	Stops:   []Stop{{Landlock, "EACCES"}},
	Outside: (*Outside).besideSecret,
	Inside: func(in *Inside) error {
		fd, err := unix.Openat(3, "../beside", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return Failed(err)
		}
		buf := make([]byte, 64)
		n, err := unix.Read(fd, buf)
		if err != nil {
			return Failed(err)
		}
		in.Take(buf[:n])
		return nil
	},
}
