package systemd

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// bus starts a message bus and returns its socket.
func bus(t *testing.T) string {
	t.Helper()
	needs.Programs(t, "dbus-daemon")
	socket := path.Join(t.TempDir(), "bus")
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path="+socket, "--print-address=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return socket
}

// manager is as much of systemd's as a scope needs.
type manager struct {
	conn       *dbus.Conn
	root       string // directory that scopes are made in
	result     string
	properties map[string]dbus.Variant
	err        error
}

type auxiliary struct {
	Name       string
	Properties []property
}

type property struct {
	Name  string
	Value dbus.Variant
}

const managerName = "org.freedesktop.systemd1.Manager"

func (m *manager) StartTransientUnit(name, mode string, properties []property, _ []auxiliary) (dbus.ObjectPath, *dbus.Error) {
	job := dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
	m.properties = map[string]dbus.Variant{}
	for _, p := range properties {
		m.properties[p.Name] = p.Value
	}
	if m.root != "" {
		dir := path.Join(m.root, name)
		pids, _ := m.properties["PIDs"].Value().([]uint32)
		if m.err = os.Mkdir(dir, 0o755); m.err == nil && len(pids) == 1 {
			m.err = write(path.Join(dir, "cgroup.procs"), strconv.Itoa(int(pids[0])))
		}
	}
	go func() {
		time.Sleep(5 * time.Millisecond)
		_ = m.conn.Emit("/org/freedesktop/systemd1", managerName+".JobRemoved", uint32(7), job, name, m.result)
	}()
	return job, nil
}

func serve(t *testing.T, m *manager) dialer {
	t.Helper()
	if _, err := user.LookupId(strconv.Itoa(os.Geteuid())); err != nil {
		needs.Root(t, "dbus-daemon serves nobody without a name in /etc/passwd: "+err.Error())
		needs.Skip(t, "root has no name in /etc/passwd: "+err.Error())
	}
	a := address{bus(t), true}
	conn, err := a.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m.conn = conn
	const object = "/org/freedesktop/systemd1"
	if err := conn.Export(m, object, managerName); err != nil {
		t.Fatal(err)
	}
	if _, err := prop.Export(conn, object, prop.Map{managerName: {"Version": {Value: "999", Emit: prop.EmitFalse}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (*sd.Conn, error) {
		return first(ctx, address{path.Join(t.TempDir(), "none"), false}, a)
	}
}

func TestEnter(t *testing.T) {
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	root := ""
	for _, h := range l.Hierarchies {
		if h.Version == 2 {
			root = h.Own
		}
	}
	needs.Root(t, "to make cgroups")
	if root == "" {
		needs.Skip(t, "needs a mounted cgroup2")
	}
	m := &manager{root: root, result: "done"}
	dial := serve(t, m)
	t.Cleanup(func() {
		if err := write(path.Join(root, "cgroup.procs"), "0"); err != nil {
			t.Error(err)
		}
	})
	s, err := enter(context.Background(), "a name/with;everything", dial)
	if err != nil || m.err != nil {
		t.Fatal(err, m.err)
	}
	t.Cleanup(func() {
		_ = write(path.Join(root, "cgroup.procs"), "0")
		for _, d := range []string{path.Join(s.Dir, supervisor), s.Dir} {
			if err := os.Remove(d); err != nil {
				t.Error(err)
			}
		}
	})
	if path.Dir(s.Dir) != root || !strings.HasSuffix(s.Unit, "-a_name_with_everything.scope") {
		t.Errorf("scope %+v", s)
	}
	if v, ok := m.properties["Delegate"].Value().(bool); !ok || !v {
		t.Errorf("properties %v: not delegated", m.properties)
	}
	own, _ := os.ReadFile("/proc/self/cgroup")
	if !strings.Contains(string(own), s.Unit+"/"+supervisor) {
		t.Errorf("not in the scope:\n%s", own)
	}
	have, _ := os.ReadFile(path.Join(s.Dir, "cgroup.controllers"))
	on, _ := os.ReadFile(path.Join(s.Dir, "cgroup.subtree_control"))
	if string(have) != string(on) {
		t.Errorf("passes on %q of %q", on, have)
	}
}

func TestRefused(t *testing.T) {
	dial := serve(t, &manager{result: "failed"})
	_, err := enter(context.Background(), "", dial)
	var u *cgroup.Unavailable
	if !errors.As(err, &u) || !strings.Contains(u.Cause, "failed") {
		t.Errorf("%v, want an *Unavailable that tells the result", err)
	}
}

func TestNoSystemd(t *testing.T) {
	dial := func(ctx context.Context) (*sd.Conn, error) {
		return first(ctx, address{path.Join(t.TempDir(), "private"), false}, address{path.Join(t.TempDir(), "bus"), true})
	}
	_, err := enter(context.Background(), "", dial)
	var u *cgroup.Unavailable
	if !errors.As(err, &u) || u.Remedy == "" {
		t.Errorf("%v, want an *Unavailable with a remedy", err)
	}
	if r := doctor(context.Background(), dial); r.Status != host.Missing || r.Cause == "" || r.Remedy == "" || strings.Contains(r.Cause, "\n") {
		t.Errorf("%+v", r)
	}
}

// TestRowWithoutBus: the text of the row, for root and for others, with systemd
// and without.
func TestRowWithoutBus(t *testing.T) {
	dir := t.TempDir()
	_, err := first(context.Background(), address{path.Join(dir, "private"), false}, address{path.Join(dir, "bus"), true})
	if err == nil {
		t.Fatal("a socket that does not exist was reached")
	}
	no := func(name string) string {
		return "dial unix " + path.Join(dir, name) + ": connect: no such file or directory"
	}
	for _, c := range []struct {
		booted              bool
		uid                 int
		name, cause, remedy string
	}{
		{
			true, 1000, "systemd's user manager",
			"systemd's user manager can't be reached (" + path.Join(dir, "private") + ": " + no("private") + ", " + path.Join(dir, "bus") + ": " + no("bus") + "); only a user who may make no cgroup needs it",
			"log in again through PAM, or as root: loginctl enable-linger 1000",
		},
		{
			false, 1000, "systemd's user manager",
			"systemd does not run this machine, so nobody hands out cgroups; only a user who may make no cgroup needs it",
			cgroup.HandedOver,
		},
		{
			false, 0, "systemd's manager",
			"systemd does not run this machine, so nobody hands out cgroups",
			"none is needed: root makes its cgroups itself",
		},
	} {
		r := missing(inWords(err, c.booted, c.uid), c.uid)
		want := host.Row{Group: "limits", Name: c.name, Status: host.Missing, Cause: c.cause, Remedy: c.remedy}
		if r != want {
			t.Errorf("systemd: %v, uid %d:\n%+v, want\n%+v", c.booted, c.uid, r, want)
		}
	}
}

func TestDoctor(t *testing.T) {
	if r := doctor(context.Background(), serve(t, &manager{})); r.Status != host.Works || r.Detail != "version 999" {
		t.Errorf("%+v", r)
	}
}

// TestHungManager: one that never answers does not hang the sandbox.
func TestHungManager(t *testing.T) {
	dial := serve(t, &manager{result: "done"})
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := enter(ctx, "", dial); err == nil {
		t.Error("no error after the deadline")
	}
}
