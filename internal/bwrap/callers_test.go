package bwrap_test

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// The programs that call bwrap, each doing one job of its own with this one.

// runtimeVersion is that of @anthropic-ai/sandbox-runtime.
const runtimeVersion = "0.0.83"

// job runs a program with our bwrap first in PATH; dir and all in it is the caller's.
func job(t *testing.T, who *syscall.Credential, dir string, env []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + filepath.Dir(fused(t)) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "LANG=C.UTF-8"}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// asCallers is a test as each caller, in a directory of its own below one that all may enter.
func asCallers(t *testing.T, test func(t *testing.T, who *syscall.Credential, dir string)) {
	for name, who := range callers() {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "cloche-caller-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			test(t, who, dir)
		})
	}
}

// give makes a directory and all in it the caller's.
func give(t *testing.T, who *syscall.Credential, dir string) {
	t.Helper()
	if who == nil {
		return
	}
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, int(who.Uid), int(who.Gid)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file and the directories on the way to it.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// nobody is the id of an account that every distribution has.
const nobody = 65534

// TestFlatpak makes a runtime and an app, installs them from a repository of the test's own, and
// runs the app: it sees its own files and Flatpak's description of it, and nothing of the host.
func TestFlatpak(t *testing.T) {
	needs.Programs(t, "flatpak", "busybox", "dbus-run-session")
	asCallers(t, flatpak)
}

func flatpak(t *testing.T, who *syscall.Credential, dir string) {
	if who != nil {
		who = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	env := []string{"FLATPAK_BWRAP=" + fused(t), "XDG_RUNTIME_DIR=" + dir + "/run", "XDG_DATA_HOME=" + dir + "/data"}
	if err := os.Mkdir(dir+"/run", 0o700); err != nil {
		t.Fatal(err)
	}
	id := "org.example.Platform/" + arch + "/stable"
	write(t, dir+"/rt/metadata", "[Runtime]\nname=org.example.Platform\nruntime="+id+"\nsdk="+id+"\n")
	for _, d := range []string{"/rt/usr/bin", "/rt/usr/lib", "/rt/files", "/app/files/bin", "/app/export"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	box, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/rt/usr/bin/busybox", string(text))
	if err := os.Symlink("busybox", dir+"/rt/usr/bin/sh"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/app/metadata", "[Application]\nname=org.example.App\nruntime="+id+"\nsdk="+id+"\ncommand=app\n")
	write(t, dir+"/app/files/bin/app", "#!/bin/sh\nbusybox grep name= /.flatpak-info\nbusybox ls /app/bin\nbusybox cat /etc/shadow\nbusybox touch /usr/x\nbusybox test -e "+dir+"/rt && echo seen\nexit 7\n")
	give(t, who, dir)
	run := func(line string) (string, int) {
		if os.Geteuid() == 0 && who == nil {
			return job(t, who, dir, env, "flatpak", strings.Fields(line)...)
		}
		// Of an ordinary user, who has to have an account, it asks a service on the system's bus whether somebody
		// watches over what that one installs: here on a bus where no service is.
		const own = `export DBUS_SYSTEM_BUS_ADDRESS="$DBUS_SESSION_BUS_ADDRESS"; exec flatpak "$@"`
		return job(t, who, dir, env, "dbus-run-session", append([]string{"--", "sh", "-c", own, "sh"}, strings.Fields(line)...)...)
	}
	for _, line := range []string{
		"build-export --runtime repo rt stable", "build-export repo app stable",
		"--user remote-add --no-gpg-verify local repo", "--user install -y --noninteractive local org.example.App//stable",
	} {
		if out, code := run(line); code != 0 {
			t.Fatalf("flatpak %s: exit %d\n%s", line, code, out)
		}
	}
	out, code := run("--user run org.example.App//stable")
	if code != 7 || !strings.Contains(out, "name=org.example.App") || !strings.Contains(out, "\napp\n") || strings.Contains(out, "root:") || strings.Contains(out, "seen") ||
		!strings.Contains(out, "touch: /usr/x: Read-only file system") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestSandboxRuntime has the sandbox of a coding agent run a command: it writes in the working
// directory, and neither outside nor to the network, and does not read what is denied.
func TestSandboxRuntime(t *testing.T) {
	needs.Programs(t, "npm", "node", "socat", "rg", "python3")
	installed, err := os.MkdirTemp("", "cloche-runtime-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(installed)
	if err := os.Chmod(installed, 0o755); err != nil {
		t.Fatal(err)
	}
	out, code := job(t, nil, installed, nil, "npm", "install", "--no-audit", "--no-fund", "@anthropic-ai/sandbox-runtime@"+runtimeVersion)
	if code != 0 {
		needs.Elsewhere(t, "npm's registry can't be reached: "+out)
	}
	asCallers(t, func(t *testing.T, who *syscall.Credential, dir string) { runtimeOfAgents(t, who, dir, installed) })
}

func runtimeOfAgents(t *testing.T, who *syscall.Credential, dir, installed string) {
	write(t, dir+"/settings.json", `{"network":{"allowedDomains":[],"deniedDomains":[]},"filesystem":{"denyRead":["/etc/shadow"],"allowWrite":["."],"denyWrite":[]}}`)
	write(t, dir+"/project/seed", "")
	write(t, dir+"/outside", "as it was\n")
	script := `echo hi > inside; cat inside; echo x > ../outside; cat /etc/shadow; ` +
		`python3 -c 'import socket; socket.create_connection(("192.0.2.1",80),3)' 2>&1 | tail -1`
	give(t, who, dir)
	out, code := job(t, who, dir+"/project", nil, installed+"/node_modules/.bin/srt", "--settings", dir+"/settings.json", "-c", script)
	for _, want := range []string{"hi\n", "Read-only file system", "Permission denied", "Network is unreachable"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q; exit %d\n%s", want, code, out)
		}
	}
	if text, err := os.ReadFile(dir + "/outside"); string(text) != "as it was\n" {
		t.Errorf("outside: %q, %v", text, err)
	}
}

// pixel is a PNG image of one point.
//
//go:embed testdata/pixel.png
var pixel string

// TestMat2 has mat2 clean an image.
func TestMat2(t *testing.T) {
	needs.Programs(t, "mat2")
	asCallers(t, func(t *testing.T, who *syscall.Credential, dir string) {
		write(t, dir+"/pixel.png", pixel)
		give(t, who, dir)
		if out, code := job(t, who, dir, nil, "mat2", "pixel.png"); code != 0 {
			t.Fatalf("exit %d\n%s", code, out)
		}
		if text, err := os.ReadFile(dir + "/pixel.cleaned.png"); err != nil || !strings.HasPrefix(string(text), "\x89PNG") {
			t.Errorf("%q, %v", text, err)
		}
	})
}
