package host

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestMain lets the test binary be a probe, as main does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ProbeArg {
		ProbeMain(os.Args[2:])
	}
	os.Exit(m.Run())
}

func TestDoctor(t *testing.T) {
	before, _ := os.ReadFile("/proc/self/mountinfo")
	name, _ := os.Hostname()
	rows := Doctor(context.Background())
	seen := map[string]bool{}
	for _, r := range rows {
		t.Logf("%-8s %-13s %-28s %s", r.Status, r.Group, r.Name, r.Detail)
		if r.Status != Works {
			t.Logf("         cause: %s", r.Cause)
			t.Logf("         remedy: %s", r.Remedy)
		}
		if (r.Status == Works) != (r.Cause == "" && r.Remedy == "") {
			t.Errorf("%s: %s with cause %q and remedy %q", r.Name, r.Status, r.Cause, r.Remedy)
		}
		if r.Group == "" || r.Name == "" || seen[r.Name] {
			t.Errorf("row %+v has no name, or one that is taken", r)
		}
		if strings.ContainsAny(r.Detail+r.Cause+r.Remedy, "\n") {
			t.Errorf("%s: more than a line", r.Name)
		}
		seen[r.Name] = true
	}
	if after, _ := os.ReadFile("/proc/self/mountinfo"); string(after) != string(before) {
		t.Error("the probes left a mount")
	}
	if now, _ := os.Hostname(); now != name {
		t.Errorf("the host's name became %q", now)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("the probes left a process: %v", err)
	}
}

// TestDoctorInsideLandlock: a process that Landlock confines can't mount, and is told why.
func TestDoctorInsideLandlock(t *testing.T) {
	if landlockABI() == 0 {
		needs.Kernel(t, "needs Landlock in the kernel", "5.13", "SECURITY_LANDLOCK")
	}
	out := rerun(t, "CLOCHE_TEST_LANDLOCK=1", "TestDoctorInsideLandlockChild")
	if !strings.Contains(out, "confined by Landlock") {
		t.Errorf("Landlock is not named:\n%s", out)
	}
}

func TestDoctorInsideLandlockChild(t *testing.T) {
	needs.Child(t, "CLOCHE_TEST_LANDLOCK", "TestDoctorInsideLandlock")
	if err := confineThread(); err != nil {
		t.Fatal(err)
	}
	d := &doctor{facts: quick(), around: lookAround(), users: true}
	d.prober = prober{ctx: context.Background(), flags: unix.CLONE_NEWUSER}
	d.mounts()
	for _, r := range d.rows {
		t.Logf("%s %s: %s; %s", r.Status, r.Name, r.Cause, r.Remedy)
	}
}

// TestDoctorInsideSeccomp: under a filter that refuses namespaces, the filter is named.
func TestDoctorInsideSeccomp(t *testing.T) {
	out := rerun(t, "CLOCHE_TEST_SECCOMP=1", "TestDoctorInsideSeccompChild")
	if !strings.Contains(out, "seccomp filter") {
		t.Errorf("the filter is not named:\n%s", out)
	}
}

func TestDoctorInsideSeccompChild(t *testing.T) {
	needs.Child(t, "CLOCHE_TEST_SECCOMP", "TestDoctorInsideSeccomp")
	if err := refuseNamespaces(); err != nil {
		t.Fatal(err)
	}
	d := &doctor{facts: quick(), around: lookAround()}
	d.prober = prober{ctx: context.Background(), flags: unix.CLONE_NEWUSER}
	d.userNamespaces()
	for _, r := range d.rows {
		t.Logf("%s %s: %s; %s", r.Status, r.Name, r.Cause, r.Remedy)
	}
}

// TestDoctorOldKernel: the row tells a call that has a substitute from one that
// has none, and tries the substitute.
func TestDoctorOldKernel(t *testing.T) {
	for _, c := range []struct{ call, want string }{
		{"mount_setattr", "limited mounts by file descriptor: there is no system call mount_setattr"},
		{"open_tree", "missing mounts by file descriptor: there is no system call open_tree"},
	} {
		if out := rerun(t, "CLOCHE_TEST_OLD="+c.call, "TestDoctorOldKernelChild"); !strings.Contains(out, c.want) {
			t.Errorf("without %s there is no %q in\n%s", c.call, c.want, out)
		}
	}
}

func TestDoctorOldKernelChild(t *testing.T) {
	nr := map[string]uint32{"mount_setattr": unix.SYS_MOUNT_SETATTR, "open_tree": unix.SYS_OPEN_TREE}[needs.Child(t, "CLOCHE_TEST_OLD", "TestDoctorOldKernel")]
	if err := hideCall(nr); err != nil {
		t.Fatal(err)
	}
	d := &doctor{facts: quick(), around: lookAround(), users: true}
	d.prober = prober{ctx: context.Background(), flags: unix.CLONE_NEWUSER}
	d.mounts()
	for _, r := range d.rows {
		t.Logf("%s %s: %s; %s", r.Status, r.Name, r.Cause, r.Remedy)
	}
}

// TestDoctorInChroot: in a chroot the kernel refuses user namespaces.
func TestDoctorInChroot(t *testing.T) {
	needs.Root(t, "to chroot")
	out := rerun(t, "CLOCHE_TEST_CHROOT=1", "TestDoctorInChrootChild")
	if !strings.Contains(out, "chroot(2)") {
		t.Errorf("the chroot is not named:\n%s", out)
	}
}

func TestDoctorInChrootChild(t *testing.T) {
	needs.Child(t, "CLOCHE_TEST_CHROOT", "TestDoctorInChroot")
	if err := unix.Chroot("/usr"); err != nil {
		t.Fatal(err)
	}
	s := lookAround()
	if !s.chrooted {
		t.Fatal("the chroot is not recognised")
	}
	cause, remedy := s.whyNoUserNamespace(unix.EPERM, "starting a process", false)
	t.Log(cause, remedy)
}

// rerun runs one test in a process of its own, which may confine itself.
func rerun(t *testing.T, env, test string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^"+test+"$")
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
