package attack

// The plainest of all: the file is readable for this user, and its path is known.
var fileOutside = Attack{
	Name: "file-outside", Group: "mounts", Reference: "mount_namespaces(7), pivot_root(2)",
	Tries: "read a file outside of the same user by its path",
	Stops: []Stop{{Root, "ENOENT"}},
	Door:  []string{"landlock off"}, // it follows the mounts
	Outside: func(o *Outside) error {
		path, err := o.SecretFile("file")
		o.Tell("path", path)
		return err
	},
	Inside: func(in *Inside) error { return in.TakeFile(in.Arg("path")) },
}

// The same through the working directory of a process outside, and through its root.
var cwdOfProcess = Attack{
	Name: "cwd-of-a-process", Group: "descriptors", Reference: "proc_pid_cwd(5)",
	Tries: "read a file outside through /proc/PID/cwd of a process outside",
	Stops: []Stop{{PIDNamespace, "ENOENT"}, {UserNamespace, "EACCES"}, {Landlock, "EACCES"}},
	Outside: func(o *Outside) error {
		_, err := o.SecretFile("file")
		if err != nil {
			return err
		}
		return withVictim(o)
	},
	Inside: func(in *Inside) error { return in.TakeFile("/proc/" + in.Arg("pid") + "/cwd/file") },
}

var rootOfProcess = Attack{
	Name: "root-of-a-process", Group: "descriptors", Reference: "proc_pid_root(5)",
	Tries: "read a file outside through /proc/PID/root of a process outside",
	Stops: []Stop{{PIDNamespace, "ENOENT"}, {UserNamespace, "EACCES"}, {Landlock, "EACCES"}},
	Outside: func(o *Outside) error {
		path, err := o.SecretFile("file")
		if err != nil {
			return err
		}
		o.Tell("path", path)
		return withVictim(o)
	},
	Inside: func(in *Inside) error { return in.TakeFile("/proc/" + in.Arg("pid") + "/root" + in.Arg("path")) },
}
