package supervise

import (
	"encoding/binary"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// JoinImage is an image that joins a sandbox as spec would, for a plain command: the
// prelude of `cloche exec` executes it, see plan.JoinImage. dirs are the cgroups of the
// process in which the caller is not. It is nil where this kernel's pidfds do not tell one
// process from all others (before Linux 6.9).
func JoinImage(spec *JoinSpec, dirs []*cgroup.Dir) ([]byte, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(spec.Pidfd, &fs); err != nil || fs.Type != unix.PID_FS_MAGIC {
		return nil, nil
	}
	j, files, err := prepareJoin(spec)
	for _, f := range files {
		f.Close()
	}
	if err != nil {
		return nil, err
	}
	own := *spec.Policy
	own.Init, own.Unshare.PID, own.Time, own.Limits = true, true, policy.TimeLimits{}, policy.Limits{}
	j.Policy = &own
	im := &plan.JoinImage{PID: spec.PID, Env: spec.Env}
	j.Image = im
	if im.Process, err = inodeOf(spec.Pidfd); err != nil {
		return nil, err
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	if im.Program, err = inodeOf(int(exe.Fd())); err != nil {
		return nil, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	im.Boot = string(boot)
	im.Shared = sharedNamespaces(j.Namespaces)
	if err := lookAtCgroups(im, dirs); err != nil {
		return nil, err
	}
	pl, err := plan.CompileJoin(j)
	if err != nil {
		return nil, err
	}
	made, err := assemble(pl)
	if err != nil || !plan.JoinImageFits(made.ELF) {
		return nil, err
	}
	return made.ELF, nil
}

// HasPrelude reports whether a prelude stands in front of this program: then it lies in
// memory. Advice about memory that is not mapped is an error.
func HasPrelude() bool {
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, launcher.BaseRO, 1, unix.MADV_NORMAL)
	return errno == 0
}

// sharedNamespaces are those that are not entered.
func sharedNamespaces(entered uint64) (shared [][2]string) {
	for _, n := range NamespaceTypes {
		if entered&n.Type != 0 {
			continue
		}
		if _, err := os.Stat("/proc/self/ns/" + n.Name); err != nil {
			continue // not in this kernel
		}
		its := n.Name
		if its == "pid" {
			its += "_for_children"
		}
		shared = append(shared, [2]string{n.Name, its})
	}
	return shared
}

// lookAtCgroups finds what tells the cgroups of a process, and what they are entered by.
func lookAtCgroups(im *plan.JoinImage, dirs []*cgroup.Dir) error {
	for _, t := range [...]struct {
		file string
		to   *string
	}{{procDir(im.PID) + "/cgroup", &im.Cgroups}, {"/proc/self/cgroup", &im.OwnCgroups}} {
		text, err := os.ReadFile(t.file)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		*t.to = string(text)
	}
	for _, d := range dirs {
		file, thawed := "freezer.state", "THAWED\n"
		if d.V2 {
			file, thawed = "cgroup.freeze", "0\n"
		}
		if d.Has(file) {
			im.Thawed = append(im.Thawed, plan.JoinText{Path: path.Join(d.Path, file), Text: thawed})
		}
		if d.V2 && cgroup.CloneInto() {
			i, err := inodeOf(d.FD())
			if err != nil {
				return err
			}
			im.CgroupDir = &plan.JoinFile{Path: d.Path, Inode: i}
			continue
		}
		e, err := d.Entry()
		if err != nil {
			return err
		}
		i, err := inodeOf(e.FD)
		unix.Close(e.FD)
		if err != nil {
			return err
		}
		im.Entries = append(im.Entries, plan.JoinFile{Path: e.Path, Inode: i})
	}
	return nil
}

func inodeOf(fd int) (i plan.Inode, err error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		return i, os.NewSyscallError("statx", err)
	}
	i = plan.Inode{Ino: st.Ino, Size: st.Size, Major: st.Dev_major, Min: st.Dev_minor}
	binary.LittleEndian.PutUint64(i.Changed[:], uint64(st.Ctime.Sec))
	binary.LittleEndian.PutUint32(i.Changed[8:], st.Ctime.Nsec)
	return i, nil
}
