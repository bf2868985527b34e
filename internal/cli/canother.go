package cli

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// originRule names the line or flag of a setting, and its value.
func (o *oracle) originRule(key, value string) string {
	s := key + " = " + value
	switch origin := o.p.Origins[key]; {
	case origin == "":
	case strings.HasPrefix(origin, "--"):
		s = origin
	default:
		s += " (" + origin + ")"
	}
	return s
}

// connect is about connect(2): the namespace, the filter and Landlock. Whether
// anybody listens there is another matter.
func (o *oracle) connect(to string) (answer, error) {
	if strings.HasPrefix(to, "/") || strings.HasPrefix(to, "./") {
		return o.connectUnix(to)
	}
	hostName, port, err := splitAddress(to)
	if err != nil {
		return answer{}, err
	}
	family, local := "AF_INET", hostName == "localhost" || hostName == "0.0.0.0" || strings.HasPrefix(hostName, "127.")
	if strings.IndexByte(hostName, ':') >= 0 {
		family, local = "AF_INET6", hostName == "::1" || hostName == "::"
	}
	rule := o.originRule("network.mode", string(o.p.Network))
	switch {
	case o.p.Network == policy.NetworkNone && o.p.Unshare.Net:
		fix := "--net host"
		if local {
			fix = "--net private (the sandbox's own loopback) or --net host"
		}
		return answer{Why: "there is no network inside, not even loopback", Rule: rule, Fix: fix}, nil
	case o.p.Network == policy.NetworkPrivate && !local:
		return answer{Why: "the network inside has its own loopback and nothing else", Rule: rule, Fix: "--net host"}, nil
	}
	if a, err := o.syscall("socket(" + family + ", SOCK_STREAM, 0)"); err != nil || !a.Yes {
		a.Why = "the filter refuses such a socket: " + a.Why
		return a, err
	}
	if a, err := o.syscall("connect"); err != nil || !a.Yes {
		return a, err
	}
	if o.p.Network == policy.NetworkNone && o.abi >= 4 && o.p.Landlock != policy.LandlockOff {
		return answer{Why: "Landlock refuses TCP connections", Rule: rule, Fix: "--net host"}, nil
	}
	if o.p.Network == policy.NetworkPrivate {
		return answer{Yes: true, Why: "loopback is up, with what listens on port " + port + " inside", Rule: rule}, nil
	}
	return answer{Yes: true, Why: "the host's network is shared", Rule: rule}, nil
}

// connectUnix is about a socket in the file system, unix(7).
func (o *oracle) connectUnix(name string) (answer, error) {
	if !path.IsAbs(name) {
		name = o.cwd + "/" + name
	}
	n, err := o.v.walk(name)
	if err != nil {
		return o.missing(name, err, "--read")
	}
	switch {
	case !n.is(unix.S_IFSOCK):
		return no("it is a "+n.describe()+" and no socket", n.place)
	case !o.v.permits(n, mayWrite):
		return no("its mode does not let the ids inside"+o.root(), nil)
	}
	if a, err := o.syscall("socket(AF_UNIX, SOCK_STREAM, 0)"); err != nil || !a.Yes {
		a.Why = "the filter refuses such a socket: " + a.Why
		return a, err
	}
	return yes("a socket that is shown can be connected to, also read-only", n.place)
}

// splitAddress reads HOST:PORT, [::1]:PORT.
func splitAddress(s string) (host, port string, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", errors.New("no port; write HOST:PORT")
	}
	host, port = s[:i], s[i+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.IndexByte(host, ':') >= 0 {
		return "", "", errors.New("an IPv6 address is written in brackets: [" + host + "]:" + port)
	}
	if host == "" {
		return "", "", errors.New("no host; write HOST:PORT")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", fmt.Errorf("port %q is no number from 1 to 65535", clip(port))
	}
	return host, port, nil
}

// signal is about kill(2) on a process that runs outside.
func (o *oracle) signal(about string) (answer, error) {
	pid, err := strconv.Atoi(about)
	if err != nil || pid <= 0 {
		return answer{}, errors.New("no process id; write a positive number")
	}
	if o.p.Unshare.PID {
		return answer{
			Why:  "the sandbox has process ids of its own and sees no process outside",
			Rule: o.originRule("namespaces.pid", "true"), Fix: o.shareProcesses(about),
		}, nil
	}
	uid, name, err := o.proc(about)
	if err != nil {
		return answer{}, err
	}
	what := "process " + about + " (" + name + ")"
	if o.abi >= 6 && o.p.Landlock != policy.LandlockOff {
		return answer{Why: "Landlock lets signals reach nothing outside", Rule: o.originRule("landlock.mode", string(o.p.Landlock)), Fix: "--landlock off"}, nil
	}
	if a, err := o.syscall("kill"); err != nil || !a.Yes {
		return a, err
	}
	if uid == o.v.who.uid {
		return answer{Yes: true, Why: what + " has the same user id"}, nil
	}
	if o.v.who.everywhere {
		for _, c := range o.p.Capabilities {
			if c == "CAP_KILL" {
				return answer{Yes: true, Why: "CAP_KILL is kept", Rule: o.originRule("capabilities.CAP_KILL", "true")}, nil
			}
		}
	}
	return answer{Why: what + " belongs to user id " + strconv.FormatUint(uint64(uid), 10) + ", not to the command's"}, nil
}

// shareProcesses are the flags with which a process outside could be sent signals,
// or "" where none would do.
func (o *oracle) shareProcesses(pid string) string {
	shared := *o
	shared.p = o.p.Clone()
	shared.p.Unshare.PID = false
	fix := "--share pid"
	for i := range o.p.Mounts {
		switch m := &o.p.Mounts[i]; {
		case m.Kind != policy.Proc:
		case m.Path == "/proc":
			fix += " --read /proc" // the kernel makes a new one for new process ids alone
		default:
			return ""
		}
	}
	if !o.p.Init {
		return "" // it takes process ids of its own
	}
	a, err := shared.signal(pid)
	if err == nil && a.Fix != "" {
		fix += " " + a.Fix
		shared.p.Landlock = policy.LandlockOff
		a, err = shared.signal(pid)
	}
	if err != nil || !a.Yes {
		return ""
	}
	return fix
}

// processOwner is the real user id of a running process, and its name.
func processOwner(pid string) (uint32, string, error) {
	data, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, "", fmt.Errorf("there is no process %s", pid)
	}
	name := ""
	for line := range strings.SplitSeq(string(data), "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "Name":
			name = strings.TrimSpace(value)
		case "Uid":
			if f := strings.Fields(value); len(f) > 0 {
				uid, err := strconv.ParseUint(f[0], 10, 32)
				return uint32(uid), name, err
			}
		}
	}
	return 0, "", fmt.Errorf("/proc/%s/status tells no owner", pid)
}
