package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// program is a compiled filter.
type program struct {
	flags    uint
	listener bool
	code     []unix.SockFilter
}

// listenerOf is what linux.seccomp says of a listener.
type listenerOf struct {
	ListenerPath     string `json:"listenerPath"`
	ListenerMetadata string `json:"listenerMetadata"`
}

// filter compiles linux.seccomp, or finds it compiled.
func (k *compiler) filter(out *plan.ContainerProcess) error {
	raw := k.c.Linux.Seccomp
	if len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return nil
	}
	p, err := cachedProgram(k.container.root, raw, &k.facts)
	if err != nil {
		return err
	}
	out.Filter, out.FilterFlags, out.Listener = p.code, p.flags, p.listener
	if !p.listener {
		return nil
	}
	var l listenerOf
	if err := decode(raw, &l); err != nil {
		return refusal("linux.seccomp", "%v", err)
	}
	if l.ListenerPath == "" {
		return refusal("linux.seccomp.listenerPath", "a call has the action SCMP_ACT_NOTIFY, and nobody is named to answer it")
	}
	k.listener = &l
	return nil
}

// cacheDir lies beside the containers' directories; none of them can have its name.
const cacheDir = "seccomp~cache"

// cachedProgram compiles a filter once. The name of its file comes from what is
// compiled and by which program, so that a change of either finds nothing.
func cachedProgram(root string, raw []byte, facts *host.Facts) (*program, error) {
	key := sha256.New()
	key.Write(raw)
	fmt.Fprintf(key, "\x00%s %s", facts.GOARCH, facts.Kernel)
	var st unix.Stat_t
	if unix.Stat("/proc/self/exe", &st) == nil {
		fmt.Fprintf(key, " %d %d %d %d.%d", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
	}
	dir := filepath.Join(root, cacheDir)
	name := hex.EncodeToString(key.Sum(nil))
	if p := readProgram(dir, name); p != nil {
		return p, nil
	}
	p, err := compileProgram(raw, facts)
	if err != nil {
		return nil, err
	}
	// A cache that can't be written costs time and nothing else.
	if os.Mkdir(dir, 0o700) == nil || isDir(dir) {
		_ = writeFile(dir, name, p.encode(name))
	}
	return p, nil
}

func isDir(p string) bool {
	st, err := os.Lstat(p)
	return err == nil && st.IsDir()
}

func compileProgram(raw []byte, facts *host.Facts) (*program, error) {
	arch, ok := seccomp.ArchByName(facts.GOARCH)
	if !ok {
		return nil, refusal("linux.seccomp", "there are no filters for %s", facts.GOARCH)
	}
	rules, archs, _, err := profile.ReadOCI("config.json: linux.seccomp", raw, profile.Host{Arch: arch, Kernel: facts.KernelVersion()})
	if err != nil {
		return nil, err
	}
	code, err := seccomp.Compile(rules, archs...)
	if err != nil {
		return nil, refusal("linux.seccomp", "%v", err)
	}
	p := &program{code: code, flags: rules.Flags &^ unix.SECCOMP_FILTER_FLAG_TSYNC, listener: notifies(&rules)}
	if !p.listener {
		p.flags &^= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV // of a listener
		return p, nil
	}
	// What the process itself calls between the filter and the exec, nobody would answer.
	for _, call := range []string{"sendmsg", "write", "read", "close", "capset", "prctl", "close_range", "dup3", "execve"} {
		if calls(&rules, arch, call) == seccomp.UserNotify {
			return nil, refusal("linux.seccomp", "SCMP_ACT_NOTIFY cannot be used for the %s syscall: the container's process needs it before the agent has the listener", call)
		}
	}
	return p, nil
}

// notifies reports whether any call is to be answered by an agent.
func notifies(p *seccomp.Profile) bool {
	if p.Default == seccomp.UserNotify || p.Unknown == seccomp.UserNotify {
		return true
	}
	for i := range p.Groups {
		for j := range p.Groups[i].Rules {
			if p.Groups[i].Rules[j].Action == seccomp.UserNotify {
				return true
			}
		}
	}
	return false
}

// calls is what a call without interesting arguments comes to.
func calls(p *seccomp.Profile, arch seccomp.Arch, name string) seccomp.Action {
	d, err := seccomp.ParseCall(name, arch)
	if err != nil {
		return seccomp.Allow
	}
	return seccomp.Decide(*p, arch, d).Action
}

const programMagic = "cloche seccomp 1\n"

// encode is the file of a program: a checksum, over its name too, and the code.
func (p *program) encode(name string) []byte {
	body := make([]byte, 8, 8+8*len(p.code))
	le := binary.LittleEndian
	le.PutUint32(body, uint32(p.flags))
	if p.listener {
		body[4] = 1
	}
	for _, in := range p.code {
		body = le.AppendUint16(body, in.Code)
		body = append(body, in.Jt, in.Jf)
		body = le.AppendUint32(body, in.K)
	}
	sum := programSum(name, body)
	return append(append([]byte(programMagic), sum[:]...), body...)
}

func programSum(name string, body []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(programMagic + name))
	h.Write(body)
	return [sha256.Size]byte(h.Sum(nil))
}

// readProgram is a filter from the cache, if it is there, nobody else could have
// written it, and it is whole.
func readProgram(dir, name string) *program {
	fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st, above unix.Stat_t
	if unix.Fstat(fd, &st) != nil || unix.Lstat(dir, &above) != nil {
		return nil
	}
	own := func(st *unix.Stat_t) bool { return int(st.Uid) == os.Geteuid() && st.Mode&0o022 == 0 }
	const most = len(programMagic) + sha256.Size + 8 + 8*unix.BPF_MAXINSNS
	if !own(&st) || !own(&above) || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > int64(most) {
		return nil
	}
	text := make([]byte, st.Size)
	if n, err := f.Read(text); err != nil || n != len(text) {
		return nil
	}
	rest, ok := bytes.CutPrefix(text, []byte(programMagic))
	if !ok || len(rest) < sha256.Size+8+8 || (len(rest)-sha256.Size)%8 != 0 {
		return nil
	}
	body := rest[sha256.Size:]
	if programSum(name, body) != [sha256.Size]byte(rest[:sha256.Size]) {
		return nil
	}
	le := binary.LittleEndian
	p := &program{flags: uint(le.Uint32(body)), listener: body[4] == 1}
	for at := 8; at < len(body); at += 8 {
		p.code = append(p.code, unix.SockFilter{Code: le.Uint16(body[at:]), Jt: body[at+2], Jf: body[at+3], K: le.Uint32(body[at+4:])})
	}
	return p
}
