package bwrap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefused: what can't be done ends with exit code 1 and one line, in bubblewrap's words, and
// nothing is left behind.
func TestRefused(t *testing.T) {
	long := "/" + strings.Repeat("x", 5000)
	left := watchForLeft(t)
	for name, who := range callers() {
		empty := left.directory(who)
		for _, c := range []struct{ line, want string }{
			{"--bind /nope /x true", "Can't find source path /nope: No such file or directory"},
			{"--bind " + long + " /x true", "Can't find source path " + long + ": File name too long"},
			{"--tmpfs " + long + " true", "File name too long"},
			{"--bind \xff\xfe /x true", "Can't find source path"},
			{"--bind  /x true", "Can't find source path"},
			{"--ro-bind / / nope", "execvp nope: No such file or directory"},
			{"--ro-bind / / /etc/passwd", "execvp /etc/passwd: Permission denied"},
			{"--ro-bind / / --chdir /nope true", "Can't chdir to /nope: No such file or directory"},
			{"--ro-bind / / --dir /nope/x true", "Can't mkdir /nope/x: Read-only file system"},
			{"--file 99 /x true", "Can't write data to file /x: Bad file descriptor"},
			{"--file 3 /x true", "Can't write data to file /x: Is a directory"},
			{"--bind-data 99 /x true", "Can't write data to file /x: Bad file descriptor"},
			{"--bind-fd 99 /x true", "Can't find source path /proc/self/fd/99: No such file or directory"},
			{"--seccomp 99 true", "Can't read seccomp data: Bad file descriptor"},
			{"--seccomp 3 true", "Can't read seccomp data: Is a directory"},
			{"--args 99 true", "Can't read --args data: Bad file descriptor"},
			{"--ro-bind / / --info-fd 99 true", "Write to info_fd: Bad file descriptor"},
			{"--ro-bind / / --json-status-fd 3 true", "Write to info_fd: Bad file descriptor"},
			{"--ro-bind / / --userns 3 true", "Joining specified user namespace failed: Invalid argument"},
			{"--ro-bind / / --unshare-user --userns2 3 true", "Setting userns2 failed"},
			{"--ro-bind / / --pidns 3 true", "Setting pidns failed"},
			{"--remount-ro /nope true", "Can't remount readonly on /nope: No such file or directory"},
			{"--chmod 0700 /nope true", "Can't chmod /nope: No such file or directory"},
			{"--ro-bind / / --lock-file /nope true", "Unable to open lock file /nope: No such file or directory"},
			{"--ro-bind / / --unshare-user --assert-userns-disabled true", "creation of new user namespaces was not disabled as requested"},
			{"--overlay-src /nope --tmp-overlay /x true", "Can't find source path /nope: No such file or directory"},
			{"--exec-label x true", "labeling not supported on this system"},
			{"--dir /x --symlink y /x true", "Can't make symlink at /x: destination exists and is not a symlink: Invalid argument"},
			{"--cloche-memory 1 true", "--cloche-memory"},
			{"--ro-bind / / --cloche-pids 20 nope", ""},
			{"--unshare-all --ro-bind / / --cloche-pids 20 --dir /nope/x true", ""},
			{"--unshare-all --ro-bind / / --die-with-parent --new-session nope", "execvp nope: No such file or directory"},
		} {
			t.Run(name+"/"+c.line[:min(len(c.line), 50)], func(t *testing.T) {
				t.Parallel()
				dir, err := os.Open("/")
				if err != nil {
					t.Fatal(err)
				}
				defer dir.Close()
				r := start(t, who, empty, ours(t), strings.Split(c.line, " "), dir)
				left.add(r.pid)
				if r.code != 1 || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "bwrap: ") || !strings.Contains(r.stderr, c.want) {
					t.Errorf("exit %d, stdout %q, stderr %q, want %q", r.code, r.stdout, r.stderr, c.want)
				}
			})
		}
	}
}

// TestLinksStayInside: in a tree that somebody else filled links lead where they will lead
// inside, and nothing is made on the host (bubblewrap's GHSA-pxhw-h44j-8pfx).
func TestLinksStayInside(t *testing.T) {
	for name, who := range callers() {
		t.Run(name, func(t *testing.T) {
			dir := place(t, who)
			victim := filepath.Join(dir, "victim")
			if err := os.Mkdir(victim, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(victim, 0o777); err != nil {
				t.Fatal(err)
			}
			for _, l := range [][2]string{{victim, "w/abs"}, {"../victim", "w/rel"}, {"/proc/self/root" + victim, "w/magic"}} {
				if err := os.Symlink(l[0], filepath.Join(dir, l[1])); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.Open(filepath.Join(dir, "data"))
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			for _, link := range []string{"abs", "rel", "magic"} {
				for _, act := range []string{"--dir @/x", "--file 3 @/x", "--tmpfs @/x", "--symlink a @/x", "--ro-bind-data 3 @/x", "--bind /usr @/x/y", "--mqueue @/x", "--proc @/x", "--dev @/x"} {
					line := system + "--unshare-pid --unshare-ipc --bind " + dir + "/w /w " + strings.ReplaceAll(act, "@", "/w/"+link) + " true"
					start(t, who, "/", ours(t), strings.Fields(line), data)
					left, err := os.ReadDir(victim)
					if err != nil || len(left) != 0 {
						t.Fatalf("%s %s: the host has %v, %v", link, act, left, err)
					}
				}
			}
		})
	}
}
