package oci

import (
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// environment is the process's, with HOME where it has none, as runc gives it.
func (k *compiler) environment(p *specs.Process) ([]string, error) {
	env := p.Env
	if n, err := strconv.Atoi(os.Getenv("LISTEN_FDS")); err == nil && n > 0 && n <= k.o.PreserveFDs {
		env = append(env[:len(env):len(env)], "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID=1")
	}
	for _, e := range env {
		if strings.HasPrefix(e, "HOME=") && e != "HOME=" {
			return env, nil
		}
	}
	home := "/"
	if k.rootfs > 0 {
		if h := homeOf(k.rootfs, p.User.UID); h != "" {
			home = h
		}
	}
	return append(env[:len(env):len(env)], "HOME="+home), nil
}

// homeOf reads a user's home from the container's own passwd(5): a file that
// somebody else wrote.
func homeOf(root int, uid uint32) string {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := host.Openat2(root, "etc/passwd", &how)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), "passwd")
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return ""
	}
	want := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(f) == 7 && f[2] == want {
			if strings.ContainsRune(f[5], 0) {
				return ""
			}
			return f[5]
		}
	}
	return ""
}
