package host

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestDoctorDerived: a row whose probe failed because of what it builds on says
// so, and guesses neither a kernel's age nor a masked /proc.
func TestDoctorDerived(t *testing.T) {
	if landlockABI() == 0 {
		needs.Kernel(t, "needs Landlock in the kernel", "5.13", "SECURITY_LANDLOCK")
	}
	for _, how := range []string{"landlock", "filter", "sysctl"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^TestDoctorDerivedChild$")
			cmd.Env = append(os.Environ(), "CLOCHE_TEST_DERIVED="+how)
			if how == "sysctl" { // its own user namespace's number
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags:  unix.CLONE_NEWUSER,
					UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
				}
			}
			b, err := cmd.CombinedOutput()
			out := string(b)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Contains(out, "SKIP") {
				needs.Skip(t, out)
			}
			for _, wrong := range []string{"Linux 5.11", "Linux 6.3", "masked", "user.max_mnt_namespaces", "user.max_pid_namespaces"} {
				if strings.Contains(out, wrong) {
					t.Errorf("%q is blamed:\n%s", wrong, out)
				}
			}
			want := map[string]string{"landlock": "nothing can be mounted here", "filter": "see user namespaces", "sysctl": "see user namespaces"}[how]
			if strings.Count(out, want) < 3 {
				t.Errorf("no %q in three rows:\n%s", want, out)
			}
		})
	}
}

func TestDoctorDerivedChild(t *testing.T) {
	var err error
	d := &doctor{facts: quick(), users: true}
	d.prober = prober{ctx: context.Background(), flags: unix.CLONE_NEWUSER}
	switch needs.Child(t, "CLOCHE_TEST_DERIVED", "TestDoctorDerived") {
	case "landlock":
		err = confineThread()
	case "filter":
		d.users, err = false, refuseNamespaces()
	case "sysctl":
		d.users = false
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			needs.Skip(t, "needs a writable /proc/sys/user: "+err.Error())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	d.around = lookAround()
	d.namespaces()
	d.mounts()
	for _, r := range d.rows {
		t.Logf("%s %s: %s; %s", r.Status, r.Name, r.Cause, r.Remedy)
	}
}
