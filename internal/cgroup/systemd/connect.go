package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/host"
)

// connect reaches this user's manager; root's is the system's. The manager's
// own socket comes first: it needs no bus and no environment, which cron, su
// and ssh commands lack.
func connect(ctx context.Context) (*sd.Conn, error) {
	if os.Geteuid() == 0 {
		return first(ctx, address{"/run/systemd/private", false}, address{"/run/dbus/system_bus_socket", true})
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run/user/" + strconv.Itoa(os.Geteuid())
	}
	return first(ctx, address{path.Join(dir, "systemd/private"), false}, address{path.Join(dir, "bus"), true})
}

// address is a socket, and whether a message bus is behind it, which wants a Hello.
type address struct {
	socket string
	bus    bool
}

func first(ctx context.Context, addresses ...address) (*sd.Conn, error) {
	var errs []error
	for _, a := range addresses {
		conn, err := sd.NewConnection(func() (*dbus.Conn, error) { return a.dial(ctx) })
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (a address) dial(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(a.socket), dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.socket, err)
	}
	// Only with the user's number: a name would have to be looked up.
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil && a.bus {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", a.socket, err)
	}
	return conn, nil
}

// unavailable tells a machine without systemd from a session without manager.
func unavailable(err error) *cgroup.Unavailable {
	_, serr := os.Stat("/run/systemd/system") // sd_booted(3)
	return inWords(err, serr == nil, os.Geteuid())
}

func inWords(err error, booted bool, uid int) *cgroup.Unavailable {
	u := &cgroup.Unavailable{Controller: "any"}
	why := strings.ReplaceAll(err.Error(), "\n", ", ")
	switch {
	case !booted:
		u.Cause = "systemd does not run this machine, so nobody hands out cgroups"
		u.Remedy = cgroup.HandedOver
	case uid == 0:
		u.Cause = "systemd's manager can't be reached (" + why + ")"
		u.Remedy = "look in `systemctl status`; in a container start the sandbox from its host, or name a cgroup directory with limits.parent"
	default:
		u.Cause = "systemd's user manager can't be reached (" + why + ")"
		u.Remedy = "log in again through PAM, or as root: loginctl enable-linger " + strconv.Itoa(uid)
	}
	return u
}

// Doctor tells whether the manager can be reached, by asking it for its version.
func Doctor(ctx context.Context) host.Row {
	return doctor(ctx, connect)
}

func doctor(ctx context.Context, dial dialer) host.Row {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return missing(unavailable(err), os.Geteuid())
	}
	defer conn.Close()
	version, err := conn.GetManagerProperty("Version")
	if err != nil {
		return missing(&cgroup.Unavailable{
			Cause:  "systemd's manager does not answer: " + strings.ReplaceAll(err.Error(), "\n", ", "),
			Remedy: "look in `journalctl --user -n 20`",
		}, os.Geteuid())
	}
	r := row(os.Geteuid())
	r.Status, r.Detail = host.Works, "version "+strings.Trim(version, `"`)
	return r
}

func row(uid int) host.Row {
	r := host.Row{Group: "limits", Name: "systemd's user manager", Status: host.Missing}
	if uid == 0 {
		r.Name = "systemd's manager"
	}
	return r
}

// missing is the row of a manager that is out of reach, with who would miss it.
func missing(u *cgroup.Unavailable, uid int) host.Row {
	r := row(uid)
	r.Cause, r.Remedy = u.Cause+"; only a user who may make no cgroup needs it", u.Remedy
	if uid == 0 {
		r.Cause, r.Remedy = u.Cause, "none is needed: root makes its cgroups itself"
	}
	return r
}
