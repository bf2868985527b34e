package bwrap_test

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLowestDescriptors: Cloche's own descriptors get the lowest numbers that are free, and never one that
// the command line names, whether that is open or not.
func TestLowestDescriptors(t *testing.T) {
	allow := binary.LittleEndian.AppendUint32([]byte{unix.BPF_RET, 0, 0, 0}, unix.SECCOMP_RET_ALLOW)
	const loaded = "grep -c ^Seccomp:.2 /proc/self/status"
	for name, who := range callers() {
		for _, c := range []struct {
			line, script string
			open         int // how many from 3 on
			stdout, want string
		}{
			{"--ro-bind / / --seccomp 3", loaded, 1, "1\n", ""},
			{"--ro-bind / / --unshare-all --proc /proc --add-seccomp-fd 4 --add-seccomp-fd 3", loaded, 2, "1\n", ""},
			{"--ro-bind / / --seccomp 3 --cloche-seccomp default", loaded, 1, "1\n", ""},
			{"--ro-bind-data 3 /x --ro-bind / /", "true", 1, "", ""},
			{"--file 3 /x", "true", 0, "", "Can't write data to file /x: Bad file descriptor"},
			{"--file 4 /x", "true", 0, "", "Can't write data to file /x: Bad file descriptor"},
			{"--ro-bind-data 5 /x", "true", 0, "", "Can't write data to file /x: Bad file descriptor"},
			{"--bind-fd 3 /x", "true", 0, "", "Can't find source path /proc/self/fd/3: No such file or directory"},
			{"--seccomp 3", "true", 0, "", "Can't read seccomp data: Bad file descriptor"},
			{"--ro-bind / / --info-fd 3", "true", 0, "", "Write to info_fd: Bad file descriptor"},
			{"--ro-bind / / --info-fd 4", "true", 0, "", "Write to info_fd: Bad file descriptor"},
			{"--ro-bind / / --json-status-fd 5", "true", 0, "", "Write to info_fd: Bad file descriptor"},
			{"--ro-bind / / --userns 4", "true", 0, "", "Joining specified user namespace failed: Bad file descriptor"},
			{"--ro-bind / / --pidns 3", "true", 0, "", "Setting pidns failed: Bad file descriptor"},
			{"--ro-bind / / --block-fd 3", "echo ran", 0, "ran\n", ""},
			{"--ro-bind / / --sync-fd 4 --unshare-pid", "echo ran", 0, "ran\n", ""},
		} {
			t.Run(name+"/"+c.line, func(t *testing.T) {
				t.Parallel()
				var files []*os.File
				for range c.open {
					r, w, err := os.Pipe()
					if err != nil {
						t.Fatal(err)
					}
					defer r.Close()
					_, err = w.Write(allow)
					if w.Close(); err != nil {
						t.Fatal(err)
					}
					files = append(files, r)
				}
				r := start(t, who, "/", ours(t), append(strings.Fields(c.line), "sh", "-c", c.script), files...)
				failed := r.code == 1 && strings.Contains(r.stderr, "bwrap: "+c.want)
				if r.stdout != c.stdout || c.want == "" && (r.code != 0 || r.stderr != "") || c.want != "" && !failed {
					t.Errorf("exit %d, stdout %q, stderr %q, want %q, %q", r.code, r.stdout, r.stderr, c.stdout, c.want)
				}
			})
		}
	}
}
