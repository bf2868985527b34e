package oci

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// globalOptions come before the command.
var globalOptions = [...]option{
	{name: "debug", usage: "enable debug logging", set: func(i *invocation, v string) error { return toBool(&i.g.Debug, v) }},
	{name: "log", value: "FILE", usage: "set the log file to write logs to (default is '/dev/stderr')", set: func(i *invocation, v string) error { i.g.Log = v; return nil }},
	{name: "log-format", value: "FORMAT", usage: "set the log format ('text' (default), or 'json')", set: func(i *invocation, v string) error { i.g.LogFormat = v; return nil }},
	{name: "root", value: "DIR", usage: "root directory for storage of container state (this should be located in tmpfs)", set: func(i *invocation, v string) error { i.g.Root = v; i.rootSet = true; return nil }},
	{name: "criu", value: "FILE", hidden: true, set: func(i *invocation, v string) error { return nil }},
	{name: "systemd-cgroup", usage: "enable systemd cgroup support, expects cgroupsPath to be of form \"slice:prefix:name\" for e.g. \"system.slice:cloche:434234\"", set: func(i *invocation, v string) error { return toBool(&i.g.SystemdCgroup, v) }},
	{name: "rootless", value: "WHEN", usage: "ignore cgroup permission errors ('true', 'false', or 'auto')", set: func(i *invocation, v string) error { i.rootless = v; return nil }},
	{name: "version", short: "v", usage: "print the version", set: func(i *invocation, v string) error { return toBool(&i.version, v) }},
}

// What several commands have.
var (
	optBundle        = option{name: "bundle", short: "b", value: "DIR", usage: "path to the root of the bundle directory, defaults to the current directory", set: func(i *invocation, v string) error { i.run.Bundle = v; return nil }}
	optConsoleSocket = option{name: "console-socket", value: "SOCKET", usage: "path to an AF_UNIX socket which will receive a file descriptor referencing the master end of the console's pseudoterminal", set: func(i *invocation, v string) error { i.run.ConsoleSocket, i.exec.ConsoleSocket = v, v; return nil }}
	optPidfdSocket   = option{name: "pidfd-socket", value: "SOCKET", usage: "path to an AF_UNIX socket which will receive a file descriptor referencing the process", set: func(i *invocation, v string) error { i.run.PidfdSocket, i.exec.PidfdSocket = v, v; return nil }}
	optPidFile       = option{name: "pid-file", value: "FILE", usage: "specify the file to write the process id to", set: func(i *invocation, v string) error { i.run.PidFile, i.exec.PidFile = v, v; return nil }}
	optNoPivot       = option{name: "no-pivot", usage: "do not use pivot root to jail process inside rootfs.  This should be used whenever the rootfs is on top of a ramdisk", set: func(i *invocation, v string) error { return toBool(&i.run.NoPivot, v) }}
	optNoNewKeyring  = option{name: "no-new-keyring", usage: "do not create a new session keyring for the container.  This will cause the container to inherit the calling processes session key", set: func(i *invocation, v string) error { return toBool(&i.run.NoNewKeyring, v) }}
	optPreserveFDs   = option{name: "preserve-fds", value: "N", usage: "Pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)", set: setPreserveFDs}
	optDetach        = option{name: "detach", short: "d", usage: "detach from the container's process", set: func(i *invocation, v string) error {
		i.exec.Detach = false
		err := toBool(&i.run.Detach, v)
		i.exec.Detach = i.run.Detach
		return err
	}}
	optFormat = option{name: "format", short: "f", value: "FORMAT", usage: "select one of: table or json", set: setFormat}
)

const containerID = "<container-id>"

// verbs are the commands.
var verbs = [...]verb{
	{name: "checkpoint", usage: "not supported: checkpoint a running container", args: containerID, max: -1, greedy: true, options: checkpointOptions[:], run: noCheckpoint},
	{name: "create", usage: "create a container", args: containerID, min: 1, max: 1, options: []option{optBundle, optConsoleSocket, optPidfdSocket, optPidFile, optNoPivot, optNoNewKeyring, optPreserveFDs}, run: runCreate},
	{name: "delete", usage: "delete any resources held by the container often used with detached container", args: containerID, min: 1, max: 1, options: []option{
		{name: "force", short: "f", usage: "Forcibly deletes the container if it is still running (uses SIGKILL)", set: func(i *invocation, v string) error { return toBool(&i.force, v) }},
	}, run: func(i *invocation) (int, error) { return 0, Delete(&i.g, i.args[0], i.force) }},
	{name: "events", usage: "display container events such as OOM notifications, cpu, memory, and IO usage statistics", args: containerID, min: 1, max: 1, options: []option{
		{name: "interval", value: "DURATION", usage: "set the stats collection interval (default: 5s)", set: setInterval},
		{name: "stats", usage: "display the container's stats then exit", set: func(i *invocation, v string) error { return toBool(&i.stats, v) }},
	}, run: runEvents},
	{name: "exec", usage: "execute new process inside the container", args: containerID + " <command> [command options]  || -p process.json " + containerID, min: 1, max: -1, greedy: true, options: execOptions[:], run: runExec},
	{name: "features", usage: "show the enabled features", run: runFeatures},
	{name: "kill", usage: "kill sends the specified signal (default: SIGTERM) to the container's init process", args: containerID + " [signal]", min: 1, max: 2, options: []option{
		{name: "all", short: "a", usage: "send the signal to every process of the container", set: func(i *invocation, v string) error { return toBool(&i.all, v) }},
	}, run: runKill},
	{name: "list", usage: "lists containers started with the given root", options: []option{
		optFormat,
		{name: "quiet", short: "q", usage: "display only container IDs", set: func(i *invocation, v string) error { return toBool(&i.quiet, v) }},
	}, run: runList},
	{name: "pause", usage: "pause suspends all processes inside the container", args: containerID, min: 1, max: 1, run: runPause},
	{name: "ps", usage: "ps displays the processes running inside a container", args: containerID + " [ps options]", min: 1, max: -1, greedy: true, options: []option{optFormat}, run: runPs},
	{name: "restore", usage: "not supported: restore a container from a previous checkpoint", args: containerID, max: -1, greedy: true, options: checkpointOptions[:], run: noCheckpoint},
	{name: "resume", usage: "resumes all processes that have been previously paused", args: containerID, min: 1, max: 1, run: runResume},
	{name: "run", usage: "create and run a container", args: containerID, min: 1, max: 1, options: []option{
		optBundle, optConsoleSocket, optPidfdSocket, optDetach,
		{name: "keep", usage: "do not delete the container after it exits", set: func(i *invocation, v string) error { return toBool(&i.run.Keep, v) }},
		optPidFile,
		{name: "no-subreaper", usage: "disable the use of the subreaper used to reap reparented processes", set: func(i *invocation, v string) error { return toBool(&i.run.NoSubreaper, v) }},
		optNoPivot, optNoNewKeyring, optPreserveFDs,
	}, run: runRun},
	{name: "spec", usage: "create a new specification file", options: []option{
		optBundle,
		{name: "rootless", usage: "generate a configuration for a rootless container", set: func(i *invocation, v string) error { return toBool(&i.specRootless, v) }},
	}, run: runSpec},
	{name: "start", usage: "executes the user defined process in a created container", args: containerID, min: 1, max: 1, run: func(i *invocation) (int, error) { return 0, Start(&i.g, i.args[0]) }},
	{name: "state", usage: "output the state of a container", args: containerID, min: 1, max: 1, run: runState},
	{name: "update", usage: "update container resource constraints", args: containerID, min: 1, max: 1, options: updateFlags[:], run: runUpdate},
}

// execOptions describe the process, or name a file that does.
var execOptions = [...]option{
	optConsoleSocket, optPidfdSocket,
	{name: "cwd", value: "DIR", usage: "current working directory in the container", set: func(i *invocation, v string) error { i.exec.Cwd = v; return nil }},
	{name: "env", short: "e", value: "NAME=VALUE", usage: "set environment variables", set: func(i *invocation, v string) error { i.exec.Env = append(i.exec.Env, v); return nil }},
	{name: "tty", short: "t", usage: "allocate a pseudo-TTY", set: func(i *invocation, v string) error { return toBool(&i.exec.TTY, v) }},
	{name: "user", short: "u", value: "UID[:GID]", usage: "UID (format: <uid>[:<gid>])", set: func(i *invocation, v string) error { i.exec.User = v; return nil }},
	{name: "additional-gids", short: "g", value: "GID", usage: "additional gids", set: setAdditionalGIDs},
	{name: "process", short: "p", value: "FILE", usage: "path to the process.json", set: func(i *invocation, v string) error { i.exec.Process = v; return nil }},
	optDetach, optPidFile,
	{name: "process-label", value: "LABEL", usage: "set the asm process label for the process commonly used with selinux", set: func(i *invocation, v string) error { i.exec.ProcessLabel = v; return nil }},
	{name: "apparmor", value: "PROFILE", usage: "set the apparmor profile for the process", set: func(i *invocation, v string) error { i.exec.AppArmor = v; return nil }},
	{name: "no-new-privs", usage: "set the no new privileges value for the process", set: func(i *invocation, v string) error { return toBool(&i.exec.NoNewPrivs, v) }},
	{name: "cap", short: "c", value: "CAP", usage: "add a capability to the bounding set for the process", set: func(i *invocation, v string) error { i.exec.Cap = append(i.exec.Cap, v); return nil }},
	optPreserveFDs,
	{name: "cgroup", value: "[CONTROLLER:]PATH", usage: "run the process in an (existing) sub-cgroup(s). Format is [<controller>:]<cgroup>.", set: func(i *invocation, v string) error { i.exec.Cgroup = append(i.exec.Cgroup, v); return nil }},
	{name: "ignore-paused", usage: "allow exec in a paused container", set: func(i *invocation, v string) error { return toBool(&i.exec.IgnorePaused, v) }},
}

// checkpointOptions are those that an engine may give to checkpoint and restore;
// all are taken, so that the answer is about what was asked for.
var checkpointOptions = [...]option{
	ignored("image-path"), ignored("work-path"), ignored("parent-path"), ignored("status-fd"), ignored("page-server"),
	ignored("manage-cgroups-mode"), ignored("empty-ns"), ignored("lsm-profile"), ignored("lsm-mount-context"),
	ignored("console-socket"), ignored("pid-file"), ignored("bundle"), ignored("b"),
	ignoredSwitch("leave-running"), ignoredSwitch("tcp-established"), ignoredSwitch("tcp-skip-in-flight"), ignoredSwitch("link-remap"),
	ignoredSwitch("ext-unix-sk"), ignoredSwitch("shell-job"), ignoredSwitch("lazy-pages"), ignoredSwitch("file-locks"), ignoredSwitch("pre-dump"),
	ignoredSwitch("auto-dedup"), ignoredSwitch("detach"), ignoredSwitch("d"), ignoredSwitch("no-subreaper"), ignoredSwitch("no-pivot"),
}

func ignored(name string) option {
	return option{name: name, value: "VALUE", hidden: true, set: ignore}
}

func ignoredSwitch(name string) option { return option{name: name, hidden: true, set: ignore} }

func ignore(*invocation, string) error { return nil }

func noCheckpoint(i *invocation) (int, error) {
	return exitError, errors.New(i.verb.name + " is not supported: this runtime neither saves the memory of processes nor brings it back; stop the container and start it again, or use a runtime with CRIU")
}

func setPreserveFDs(i *invocation, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > 1<<20 {
		return errors.New("parse error")
	}
	i.run.PreserveFDs, i.exec.PreserveFDs = n, n
	return nil
}

func setAdditionalGIDs(i *invocation, v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return errors.New("parse error")
	}
	if n < 0 || n > math.MaxUint32-1 {
		return fmt.Errorf("additional-gids must be a positive number %d", n)
	}
	i.exec.AdditionalGIDs = append(i.exec.AdditionalGIDs, uint32(n))
	return nil
}

func setFormat(i *invocation, v string) error {
	i.format = v
	return nil
}

func setInterval(i *invocation, v string) (err error) {
	if i.interval, err = time.ParseDuration(v); err != nil {
		return errors.New("parse error")
	}
	return nil
}

func runCreate(i *invocation) (int, error) {
	if err := Create(&i.g, i.args[0], &i.run.CreateOptions); err != nil {
		return exitError, fmt.Errorf("%s create failed: %w", programName, err)
	}
	return 0, nil
}

func runRun(i *invocation) (int, error) {
	status, err := Run(&i.g, i.args[0], &i.run)
	if err != nil {
		return exitError, fmt.Errorf("%s run failed: %w", programName, err)
	}
	return status, nil
}

func runExec(i *invocation) (int, error) {
	i.exec.Args = i.args[1:]
	status, err := Exec(&i.g, i.args[0], &i.exec)
	if err != nil {
		return exitExec, fmt.Errorf("exec failed: %w", err)
	}
	return status, nil
}

func runKill(i *invocation) (int, error) {
	name := "SIGTERM"
	if len(i.args) == 2 && i.args[1] != "" {
		name = i.args[1]
	}
	sig, err := parseSignal(name)
	if err != nil {
		return exitError, err
	}
	return 0, Kill(&i.g, i.args[0], sig, i.all)
}

// parseSignal takes a number, or a name with or without SIG in any case.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > 64 {
			return 0, fmt.Errorf("unknown signal %q", s)
		}
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	if sig == 0 {
		return 0, fmt.Errorf("unknown signal %q", s)
	}
	return sig, nil
}
