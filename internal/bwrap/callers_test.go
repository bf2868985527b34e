package bwrap_test

import (
	"bytes"
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// The programs that call bwrap, each doing one job of its own with this one.

// runtimeVersion is that of @anthropic-ai/sandbox-runtime.
const runtimeVersion = "0.0.83"

// job runs a program with our bwrap first in PATH.
func job(t *testing.T, dir string, env []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + filepath.Dir(ours(t)) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "LANG=C.UTF-8"}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
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

// TestFlatpak makes a runtime and an app, installs them from a repository of the test's own, and
// runs the app: it sees its own files and Flatpak's description of it, and nothing of the host.
func TestFlatpak(t *testing.T) {
	needs.Programs(t, "flatpak", "busybox")
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	dir := t.TempDir()
	env := []string{"FLATPAK_BWRAP=" + ours(t), "XDG_RUNTIME_DIR=" + dir + "/run", "XDG_DATA_HOME=" + dir + "/data"}
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
	for _, line := range []string{
		"build-export --runtime repo rt stable", "build-export repo app stable",
		"--user remote-add --no-gpg-verify local repo", "--user install -y --noninteractive local org.example.App//stable",
	} {
		if out, code := job(t, dir, env, "flatpak", strings.Fields(line)...); code != 0 {
			t.Fatalf("flatpak %s: exit %d\n%s", line, code, out)
		}
	}
	out, code := job(t, dir, env, "flatpak", "--user", "run", "org.example.App//stable")
	if code != 7 || !strings.Contains(out, "name=org.example.App") || !strings.Contains(out, "\napp\n") || strings.Contains(out, "root:") || strings.Contains(out, "seen") ||
		!strings.Contains(out, "touch: /usr/x: Read-only file system") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestSandboxRuntime has the sandbox of a coding agent run a command: it writes in the working
// directory, and neither outside nor to the network, and does not read what is denied.
func TestSandboxRuntime(t *testing.T) {
	needs.Programs(t, "npm", "node", "socat", "rg", "python3")
	dir := t.TempDir()
	out, code := job(t, dir, nil, "npm", "install", "--no-audit", "--no-fund", "@anthropic-ai/sandbox-runtime@"+runtimeVersion)
	if code != 0 {
		needs.Elsewhere(t, "npm's registry can't be reached: "+out)
	}
	write(t, dir+"/settings.json", `{"network":{"allowedDomains":[],"deniedDomains":[]},"filesystem":{"denyRead":["/etc/shadow"],"allowWrite":["."],"denyWrite":[]}}`)
	write(t, dir+"/project/seed", "")
	write(t, dir+"/outside", "as it was\n")
	script := `echo hi > inside; cat inside; echo x > ../outside; cat /etc/shadow; ` +
		`python3 -c 'import socket; socket.create_connection(("192.0.2.1",80),3)' 2>&1 | tail -1`
	out, code = job(t, dir+"/project", nil, dir+"/node_modules/.bin/srt", "--settings", dir+"/settings.json", "-c", script)
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
	dir := t.TempDir()
	write(t, dir+"/pixel.png", pixel)
	if out, code := job(t, dir, nil, "mat2", "pixel.png"); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if text, err := os.ReadFile(dir + "/pixel.cleaned.png"); err != nil || !strings.HasPrefix(string(text), "\x89PNG") {
		t.Errorf("%q, %v", text, err)
	}
}
