package bwrap_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// programs are bubblewrap and Cloche.
func programs(t *testing.T) map[string]string {
	t.Helper()
	needs.Programs(t, "bwrap", "unshare")
	theirs, err := exec.LookPath("bwrap")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"bubblewrap": theirs, "Cloche": ours(t)}
}

// holder has a process keep a user and a pid namespace, and in that user namespace another one. It returns
// their descriptors, and what they are called.
func holder(t *testing.T, who *syscall.Credential) (files []*os.File, names []string) {
	t.Helper()
	cmd := exec.Command("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child", "sh", "-c",
		`unshare --user --map-current-user sh -c 'echo ready; read x' & read x <&3; wait`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{r}
	in, err := cmd.StdinPipe() // what the innermost reads
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		needs.Skip(t, "no user namespace can be made here: "+line+err.Error())
	}
	first := children(t, cmd.Process.Pid)[0]
	second := children(t, first)[0]
	for _, name := range []string{fmt.Sprintf("/proc/%d/ns/user", first), fmt.Sprintf("/proc/%d/ns/pid", first), fmt.Sprintf("/proc/%d/ns/user", second)} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		link, err := os.Readlink(name)
		if err != nil {
			t.Fatal(err)
		}
		files, names = append(files, f), append(names, link)
	}
	return files, names
}

func children(t *testing.T, pid int) (all []int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for word := range strings.FieldsSeq(string(text)) {
		n, _ := strconv.Atoi(word)
		all = append(all, n)
	}
	if err != nil || len(all) == 0 {
		t.Fatalf("children of %d: %q, %v", pid, text, err)
	}
	return all
}

// TestJoined: namespaces that are given by descriptors are joined, in bubblewrap and in Cloche.
func TestJoined(t *testing.T) {
	for name, who := range callers() {
		files, names := holder(t, who)
		user, pid, second := names[0], names[1], names[2]
		for _, c := range []struct{ line, script, want string }{
			{"--ro-bind / / --userns 3", "readlink /proc/self/ns/user", user + "\n"},
			{"--ro-bind / / --userns 3 --unshare-pid --proc /proc", "readlink /proc/self/ns/user; test $$ -lt 9 && echo its own", user + "\nits own\n"},
			{"--ro-bind / / --userns 3 --pidns 4 --proc /proc", "readlink /proc/self/ns/user /proc/self/ns/pid; test -e /proc/1/comm && echo seen", user + "\n" + pid + "\nseen\n"},
			{"--ro-bind / / --userns 3 --pidns 4 --unshare-pid --proc /proc", "readlink /proc/self/ns/user; test $(readlink /proc/self/ns/pid) != " + pid + " && test $$ -lt 9 && grep NSpid /proc/1/status | wc -w", user + "\n2\n"},
			{"--ro-bind / / --userns 3 --userns2 5", "readlink /proc/self/ns/user; test -d /proc/self/fd && echo alive", second + "\nalive\n"},
			{"--ro-bind / / --userns 3 --unshare-net --unshare-ipc --unshare-uts --hostname inside", "uname -n; grep -c : /proc/net/dev", "inside\n1\n"},
		} {
			for whose, program := range programs(t) {
				t.Run(name+"/"+whose+"/"+c.line, func(t *testing.T) {
					r := start(t, who, "/", program, append(strings.Fields(c.line), "sh", "-c", c.script), files...)
					if r.code != 0 || r.stdout != c.want || r.stderr != "" {
						t.Errorf("exit %d, stdout %q, stderr %q, want %q", r.code, r.stdout, r.stderr, c.want)
					}
				})
			}
		}
	}
}

// TestBlocked: the command waits for --block-fd, and its ids are what somebody outside writes who
// is told of the pid and says by --userns-block-fd that they are written.
func TestBlocked(t *testing.T) {
	for name, who := range callers() {
		for whose, program := range programs(t) {
			for _, option := range []string{"--block-fd", "--userns-block-fd"} {
				t.Run(name+"/"+whose+"/"+option, func(t *testing.T) {
					waits, goes := pipe(t)
					told, tells := pipe(t)
					cmd := exec.Command(program, "--ro-bind", "/", "/", "--unshare-user", "--info-fd", "4", option, "3", "sh", "-c", "id -u; id -g")
					cmd.ExtraFiles = []*os.File{waits, tells}
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
					out, writes := pipe(t)
					cmd.Stdout, cmd.Stderr = writes, writes
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
					defer late.Stop()
					waits.Close()
					tells.Close()
					writes.Close()
					var info struct {
						Pid int `json:"child-pid"`
					}
					if err := json.NewDecoder(told).Decode(&info); err != nil {
						t.Fatal(err)
					}
					uid, gid := os.Getuid(), os.Getgid()
					if who != nil {
						uid, gid = int(who.Uid), int(who.Gid)
					}
					if option == "--userns-block-fd" {
						for _, w := range [][2]string{{"setgroups", "deny"}, {"uid_map", fmt.Sprintf("7 %d 1", uid)}, {"gid_map", fmt.Sprintf("8 %d 1", gid)}} {
							if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", info.Pid, w[0]), []byte(w[1]), 0); err != nil {
								t.Error(err)
							}
						}
						uid, gid = 7, 8
					}
					if err := out.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
						t.Fatal(err)
					}
					if n, err := out.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("it did not wait: %d, %v", n, err)
					}
					if _, err := goes.Write([]byte("1")); err != nil {
						t.Error(err)
					}
					if err := out.SetReadDeadline(time.Time{}); err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(out)
					if want := fmt.Sprintf("%d\n%d\n", uid, gid); err != nil || string(got) != want {
						t.Errorf("%v, %q, want %q", err, got, want)
					}
					if err := cmd.Wait(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}
