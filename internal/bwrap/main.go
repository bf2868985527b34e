package bwrap

import (
	"errors"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

// Asked reports whether args, those of a process, ask for bubblewrap's command line, and
// where that begins.
func Asked(args []string) (skip int, ok bool) {
	switch {
	case len(args) > 0 && path.Base(args[0]) == "bwrap":
		return 1, true
	case len(args) > 1 && args[1] == "bwrap":
		return 2, true
	}
	return 0, false
}

// program is a run of the front end.
type program struct {
	argv   []string
	skip   int
	prefix bool // --level-prefix
}

// Main carries out the command line that begins at skip in argv, and returns an exit status
// where there is no sandbox that took the process's place.
func Main(argv []string, skip int) int {
	b := &program{argv: argv, skip: skip}
	status, err := b.main()
	if err != nil {
		b.say(3, err.Error())
		return 1
	}
	return status
}

func (b *program) main() (int, error) {
	report, explain := takeReport()
	args := b.argv[b.skip:]
	if len(args) == 0 {
		return 1, usage(os.Stderr, b.argv[:b.skip])
	}
	extra, err := extraOptions()
	if err != nil {
		return 1, err
	}
	inv, err := Parse(append(extra, args...), readArgs)
	if inv != nil {
		b.prefix = inv.LevelPrefix
	}
	if err != nil {
		return 1, err
	}
	switch {
	case inv.Help:
		return 0, usage(os.Stdout, b.argv[:b.skip])
	case inv.Version:
		_, err := os.Stdout.WriteString("bubblewrap " + Version + "\n")
		return 0, err
	}
	if inv.Completion != "" {
		text, _ := completion(inv.Completion)
		_, err := os.Stdout.WriteString(text)
		return 0, err
	}
	if !explain {
		for _, w := range inv.Warnings {
			b.say(4, w)
		}
	}
	if len(inv.Command) == 0 && !inv.PrintPolicy {
		return 1, usage(os.Stderr, b.argv[:b.skip])
	}
	if (inv.ExecLabel != nil || inv.FileLabel != nil) && !labels() {
		return 1, errors.New("labeling not supported on this system")
	}
	s, err := Convert(inv, world(inv))
	if err != nil {
		return 1, err
	}
	if inv.PrintPolicy {
		text, err := s.TOML()
		if err == nil {
			_, err = os.Stdout.Write(text)
		}
		return 0, err
	}
	spec := &supervise.Spec{
		Policy: s.Policy, Args: s.Command, Env: s.Environ,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Sequence: s.Acts, Manner: s.Manner,
	}
	if err := s.Policy.LoadSeccomp(readFile); err != nil {
		return 1, err
	}
	// The arguments of the process that comes next hold those that came from descriptors, so
	// that it can be asked what they meant.
	argv := append(append([]string{}, b.argv[:b.skip]...), inv.Options[len(extra):]...)
	argv = append(append(argv, "--"), s.Command...)
	skip := len(argv) - len(s.Command)

	if explain {
		spec.Programs = make([][]unix.SockFilter, len(inv.Seccomp))
		b.explain(inv, s, spec, report, skip)
		return 1, nil
	}
	for _, fd := range inv.Seccomp {
		prog, err := readProgram(fd)
		if err != nil {
			return 1, err
		}
		spec.Programs = append(spec.Programs, prog)
	}
	if inv.Plan {
		return 0, b.worded(inv, b.printPlan(spec, skip))
	}
	inv.keepVacant()
	free, err := reserve(s.Manner)
	if err != nil {
		return 1, err
	}
	defer free()
	return 1, b.worded(inv, supervise.Become(spec, argv, skip))
}

// takeReport takes what the sandbox that was in this process's place says of its failure
// out of the environment.
func takeReport() (u supervise.Unexplained, ok bool) {
	value, set := os.LookupEnv(supervise.ExplainVariable)
	if !set {
		return u, false
	}
	os.Unsetenv(supervise.ExplainVariable)
	u, ok = supervise.ParseUnexplained(value)
	return u, ok && !u.Again()
}

// explain says what failed.
func (b *program) explain(inv *Invocation, s *Sandbox, spec *supervise.Spec, u supervise.Unexplained, skip int) {
	if _, err := reserve(s.Manner); err != nil {
		b.say(3, err.Error())
		return
	}
	for i := range s.Acts {
		if strings.HasPrefix(s.Acts[i].Source, "/proc/self/fd/") {
			s.Acts[i].Source = "/dev" // that is closed by now; any directory makes the same operations
		}
	}
	err := b.worded(inv, u.Failure(spec, skip))
	if err == nil {
		err = errors.New("setting up the sandbox failed, and nothing is known of how: it was killed")
	}
	b.say(3, err.Error())
}

// say writes a line to stderr as bubblewrap does, with a level of syslog(3) where asked for.
func (b *program) say(level int, message string) {
	var line []byte
	if b.prefix {
		line = append(line, '<', byte('0'+level), '>')
	}
	line = append(line, "bwrap: "...)
	for i := range len(message) {
		if c := message[i]; c < ' ' && c != '\n' || c == 0x7f {
			line = append(line, '?')
		} else if c == '\n' {
			line = append(line, ' ')
		} else {
			line = append(line, c)
		}
	}
	_, _ = os.Stderr.Write(append(line, '\n'))
}

func usage(to io.Writer, program []string) error {
	_, err := io.WriteString(to, Help(strings.Join(program, " ")))
	return err
}

// extraOptions are those of the environment: only ones that bubblewrap does not have.
func extraOptions() ([]string, error) {
	words := strings.Fields(os.Getenv(OptionsVariable))
	for i := 0; i < len(words); {
		o := find(words[i])
		if o == nil || o.since != "" {
			return nil, errors.New(OptionsVariable + ": " + words[i] + " is none of Cloche's own options (--cloche-…)")
		}
		i += 1 + o.arity()
	}
	return words, nil
}

// readArgs reads arguments from a descriptor, which is closed afterwards: more than the kernel passes to a program is no use.
func readArgs(fd int) ([]byte, error) {
	defer unix.Close(fd)
	return host.ReadFD(fd, 8<<20)
}

// said is an error in bubblewrap's words, which begin with a capital letter.
type said string

func (s said) Error() string { return string(s) }

// readProgram reads a compiled filter: an array of struct sock_filter.
func readProgram(fd int) ([]unix.SockFilter, error) {
	const size = 8
	data, err := host.ReadFD(fd, size*unix.BPF_MAXINSNS*16)
	if err != nil {
		return nil, failed("Can't read seccomp data", err)
	}
	if len(data)%size != 0 {
		return nil, said("Invalid seccomp data, must be multiple of 8")
	}
	prog := make([]unix.SockFilter, len(data)/size)
	for i := range prog {
		at := data[size*i:]
		prog[i] = unix.SockFilter{
			Code: uint16(at[0]) | uint16(at[1])<<8, Jt: at[2], Jf: at[3],
			K: uint32(at[4]) | uint32(at[5])<<8 | uint32(at[6])<<16 | uint32(at[7])<<24,
		}
	}
	return prog, nil
}

func readFile(name string) (string, []byte, error) {
	data, err := os.ReadFile(name)
	return name, data, err
}

// world looks at what the command line depends on.
func world(inv *Invocation) *World {
	w := &World{UID: os.Getuid(), GID: os.Getgid(), Environ: os.Environ(), UserNamespaces: true}
	w.Cwd, _ = os.Getwd()
	if w.UID == 0 {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if unix.Capget(&hdr, &data[0]) == nil {
			w.Capabilities = uint64(data[0].Effective) | uint64(data[1].Effective)<<32
		}
		if inv.UnshareUserTry && !inv.UnshareUser {
			w.UserNamespaces = userNamespaces()
		}
	}
	for i := range inv.Acts {
		if inv.Acts[i].Kind == plan.ActDev {
			w.Console = terminal()
			break
		}
	}
	return w
}

// userNamespaces reports whether the kernel has them and allows any.
func userNamespaces() bool {
	fd, err := unix.Open("/proc/sys/user/max_user_namespaces", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	most, err := host.ReadFD(fd, 64)
	return err == nil && strings.TrimSpace(string(most)) != "0"
}

// terminal is the path of the terminal that is stdout.
func terminal() string {
	if _, err := unix.IoctlGetTermios(1, unix.TCGETS); err != nil {
		return ""
	}
	name, err := os.Readlink("/proc/self/fd/1")
	if err != nil || !strings.HasPrefix(name, "/dev/") {
		return ""
	}
	return name
}

// labels reports whether SELinux is there.
func labels() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// keepVacant keeps the numbers of descriptors that are named and not open from being given to ones of
// Cloche's own, which the sandbox would read from or write to instead. They are free again in the image.
func (i *Invocation) keepVacant() {
	named := []int{i.UserNS, i.UserNS2, i.PIDNS, i.SyncFD, i.BlockFD, i.UserNSBlockFD, i.InfoFD, i.StatusFD}
	for k := range i.Acts {
		if a := &i.Acts[k]; a.Kind == plan.ActFile || a.Kind == plan.ActData {
			named = append(named, a.FD)
		}
	}
	for _, fd := range named {
		if fd < 0 {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
			continue
		}
		if root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0); err == nil && root != fd {
			_ = unix.Dup3(root, fd, unix.O_CLOEXEC) // beyond the limit nothing can have that number
			unix.Close(root)
		}
	}
}

// reserve finds descriptors that are free for the locks that pid 1 will hold.
func reserve(m *plan.Manner) (free func(), err error) {
	free = func() {
		for _, l := range m.Locks {
			if l.FD >= 0 {
				unix.Close(l.FD)
			}
		}
	}
	for i := range m.Locks {
		if m.Locks[i].FD, err = unix.Open("/", unix.O_PATH, 0); err != nil { // pid 1 replaces it
			free()
			return nil, failed("Unable to open lock file "+m.Locks[i].Path, err)
		}
	}
	return free, nil
}

// printPlan prints every operation of the sandbox.
func (b *program) printPlan(spec *supervise.Spec, skip int) error {
	pr, err := supervise.Explain(spec, skip)
	if err != nil {
		return err
	}
	return pr.Plan.WriteText(os.Stdout)
}

// failed is a message with what an errno says, as bubblewrap words it.
func failed(message string, err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return errors.New(message + ": " + strerror(e))
	}
	return errors.New(message + ": " + err.Error())
}

// strerror is strerror(3) of the GNU C library, whose words callers look for.
func strerror(e syscall.Errno) string {
	if e == 0 {
		return "Error " + strconv.Itoa(int(e))
	}
	s := e.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
