package cli_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeVariable makes the test binary a prober: it tries what each line of its
// input asks ("read /etc/passwd") and prints yes or no.
const probeVariable = "CLOCHE_TEST_PROBE"

// executeCheck is AT_EXECVE_CHECK, execveat(2), Linux 6.14.
const executeCheck = 0x10000

func probe(in io.Reader, out io.Writer) {
	w := bufio.NewWriter(out)
	defer w.Flush()
	safe := os.Getenv(probeVariable) == "access"
	for s := bufio.NewScanner(in); s.Scan(); {
		verb, p, _ := strings.Cut(s.Text(), " ")
		var err error
		switch verb {
		case "read":
			err = tryOpen(p, unix.O_RDONLY)
		case "write":
			err = tryWrite(p, safe)
		case "exec":
			err = tryExec(p)
		}
		if err == nil {
			fmt.Fprintln(w, "yes")
		} else {
			fmt.Fprintln(w, "no", err)
		}
	}
}

func tryOpen(p string, flags int) error {
	fd, err := unix.Open(p, flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// tryWrite opens a file for writing, and makes and removes one in a directory or
// under a name that does not exist. safe only asks, access(2).
func tryWrite(p string, safe bool) error {
	if safe {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err == nil {
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFSOCK:
				return unix.ENXIO
			case unix.S_IFDIR:
				return unix.Faccessat(unix.AT_FDCWD, p, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
			}
		}
		err := unix.Faccessat(unix.AT_FDCWD, p, unix.W_OK, unix.AT_EACCESS)
		if err == unix.ENOENT {
			return unix.Faccessat(unix.AT_FDCWD, p[:strings.LastIndexByte(p, '/')+1], unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		}
		return err
	}
	var st unix.Stat_t
	err := unix.Stat(p, &st)
	switch {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		p = strings.TrimSuffix(p, "/") + "/.cloche-test-probe"
	case err == nil:
		err := tryOpen(p, unix.O_WRONLY)
		if err == unix.ENXIO && st.Mode&unix.S_IFMT == unix.S_IFIFO {
			return nil // nobody reads it, which is no refusal
		}
		return err
	}
	fd, err := unix.Open(p, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	made, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)) // not p, if that is a link
	if err != nil {
		return err
	}
	return unix.Unlink(made)
}

func tryExec(p string) error {
	path, err := unix.BytePtrFromString(p)
	if err != nil {
		return err
	}
	argv := [2]*byte{path, nil}
	envp := [1]*byte{}
	at := unix.AT_FDCWD
	_, _, e := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(at), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv)), uintptr(unsafe.Pointer(&envp)), executeCheck, 0)
	if e != 0 {
		return e
	}
	return nil
}
