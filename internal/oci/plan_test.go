package oci

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden: the plan of a config.json, on a host that has everything.
func TestGolden(t *testing.T) {
	umask, oom := uint32(0o77), 100
	for name, change := range map[string]func(*compiler){
		"default": func(*compiler) {},
		"waits": func(k *compiler) {
			k.in.Process.StartFD, k.in.Process.ReportFD, k.in.Process.LastFD = k.give(-1), k.give(-1), 5
		},
		"docker": func(k *compiler) {
			p := k.c.Process
			p.NoNewPrivileges, p.Terminal, p.OOMScoreAdj = false, true, &oom
			p.User = specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{55}, Umask: &umask}
			k.c.Linux.Seccomp = []byte(`{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["execve","capset","prctl","write"],"action":"SCMP_ACT_ALLOW"}]}`)
			k.c.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
			k.c.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true"}}}
		},
		"user namespace": func(k *compiler) {
			k.c.Linux.Namespaces = append(k.c.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}, specs.LinuxNamespace{Type: specs.TimeNamespace})
			k.c.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
			k.c.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
			k.c.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 5}}
			k.c.Mounts = append(k.c.Mounts, specs.Mount{Destination: "/data", Source: "data", Options: []string{"rbind", "rro", "nosuid", "rshared"}},
				specs.Mount{Destination: "/run", Type: "tmpfs", Options: []string{"tmpcopyup", "ro"}})
		},
		"user namespace alone": func(k *compiler) {
			k.c.Linux.Namespaces = append(k.c.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			k.c.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
			k.c.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
		},
		"propagation": func(k *compiler) {
			k.c.Linux.RootfsPropagation = "rshared"
			k.o.NoPivot = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"rootfs/proc", "rootfs/dev", "data"} {
				if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			facts := host.Facts{
				GOARCH: "amd64", Kernel: "6.12.0", CapEff: 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETGID, CloseRange: true, RangeOnExec: true, Openat2: true,
				MountAPI: host.MountAPI{OpenTree: true, MoveMount: true, Fsopen: true, Fsmount: true, MountSetattr: true},
			}
			c := &config{Spec: *example(false)}
			c.Linux = &linuxConfig{Linux: *c.Spec.Linux}
			c.Process.Terminal = false
			// Which hierarchies there are is the host's.
			c.Mounts = c.Mounts[:len(c.Mounts)-1]
			k := &compiler{c: c, o: &CreateOptions{}, container: &Container{ID: "golden", root: dir}, bundle: dir, facts: facts}
			defer k.close()
			k.files = []uintptr{0, 1, 2}
			k.in.StatusFD = k.give(0)
			k.in.CgroupFD = -1
			change(k)
			k.in.ControlFD = k.give(0)
			if err := c.validate(); err != nil {
				t.Fatal(err)
			}
			if err := k.compile(); err != nil {
				t.Fatal(err)
			}
			k.in.EarlyFD = 100
			p, err := plan.CompileContainer(&k.in)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := launcher.AssembleFor(launcher.Program{GOARCH: p.GOARCH, Ops: p.Ops, OnFatal: p.OnFatal, Vars: len(p.VarNames)}); err != nil {
				t.Error(err)
			}
			var s strings.Builder
			step := -1
			for i := range p.Ops {
				if p.Ops[i].Step != step {
					step = p.Ops[i].Step
					st := p.Steps[step]
					s.WriteString(string(st.Process) + ": " + st.Name)
					if st.Origin != "" {
						s.WriteString(" (" + st.Origin + ")")
					}
					s.WriteString("\n")
				}
				s.WriteString("    " + p.OpText(i) + "\n")
			}
			real, err := filepath.EvalSymlinks(dir)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(s.String(), real, "BUNDLE")
			got = regexp.MustCompile(`\{(r?dev|ino)=[0-9:]+\}`).ReplaceAllStringFunc(got, func(m string) string {
				if strings.HasPrefix(m, "{rdev") {
					return m
				}
				return m[:4] + "…}"
			})
			golden := filepath.Join("testdata", "plan", strings.ReplaceAll(name, " ", "-")+".golden")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the plan differs from %s; look at what has changed, then write it anew with -update:\n%s", golden, got)
			}
		})
	}
}
