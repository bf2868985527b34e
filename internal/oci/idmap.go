package oci

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func mapText(m []specs.LinuxIDMapping) string {
	var s strings.Builder
	for _, e := range m {
		fmt.Fprintf(&s, "%d %d %d\n", e.ContainerID, e.HostID, e.Size)
	}
	return s.String()
}

// deniesSetgroups reports whether a gid map can only be had for giving up
// setgroups(2): the one of an ordinary user that has his own gid alone.
func deniesSetgroups(gids []specs.LinuxIDMapping, capEff uint64) bool {
	return capEff&(1<<unix.CAP_SETGID) == 0 && len(gids) == 1 && gids[0].Size == 1 && int(gids[0].HostID) == os.Getegid()
}

// writeIDMaps writes the maps of a new user namespace, user_namespaces(7): itself
// where it may, else by newuidmap(1) and newgidmap(1).
func writeIDMaps(pid int, uids, gids []specs.LinuxIDMapping, capEff uint64) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	own := len(uids) == 1 && uids[0].Size == 1 && int(uids[0].HostID) == os.Geteuid()
	if deniesSetgroups(gids, capEff) {
		if err := os.WriteFile(dir+"setgroups", []byte("deny"), 0); err != nil {
			return refusal("linux.gidMappings", "%v", err)
		}
	}
	if capEff&(1<<unix.CAP_SETUID) != 0 || own {
		if err := os.WriteFile(dir+"uid_map", []byte(mapText(uids)), 0); err != nil {
			return refusal("linux.uidMappings", "%v", err)
		}
	} else if err := mapTool("newuidmap", "linux.uidMappings", pid, uids); err != nil {
		return err
	}
	if capEff&(1<<unix.CAP_SETGID) != 0 || deniesSetgroups(gids, capEff) {
		if err := os.WriteFile(dir+"gid_map", []byte(mapText(gids)), 0); err != nil {
			return refusal("linux.gidMappings", "%v", err)
		}
		return nil
	}
	return mapTool("newgidmap", "linux.gidMappings", pid, gids)
}

func mapTool(tool, property string, pid int, m []specs.LinuxIDMapping) error {
	args := append([]string{strconv.Itoa(pid)}, strings.Fields(mapText(m))...)
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		return refusal(property, "%s %s: %v: %s; install newuidmap and newgidmap (Debian's package uidmap), and see /etc/subuid and /etc/subgid", tool, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// userNamespaceFD is a user namespace that has maps and nothing else: what an
// id-mapped mount is described by. The process in it only lives until it is open.
func userNamespaceFD(uids, gids []specs.LinuxIDMapping) (int, error) {
	ids := func(m []specs.LinuxIDMapping) (s []syscall.SysProcIDMap) {
		for _, e := range m {
			s = append(s, syscall.SysProcIDMap{ContainerID: int(e.ContainerID), HostID: int(e.HostID), Size: int(e.Size)})
		}
		return s
	}
	// A stopped child that never gets to its exec'ed program's first instruction.
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"cloche"}, SysProcAttr: &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids(uids), GidMappings: ids(gids), GidMappingsEnableSetgroups: true,
		Ptrace: true, Pdeathsig: unix.SIGKILL,
	}}
	if err := cmd.Start(); err != nil {
		return -1, fmt.Errorf("a user namespace for the ids: %w", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
	}()
	fd, err := unix.Open("/proc/"+strconv.Itoa(cmd.Process.Pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("a user namespace for the ids: %w", err)
	}
	return fd, nil
}
