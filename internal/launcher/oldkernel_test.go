package launcher

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// stagedMount is a mount of a tree as an old kernel's mountinfo shows it.
type stagedMount struct {
	id, parent int
	point      string // below the stage, as mountinfo writes it
	options    string
	opens      int // id of what is found at its name
}

// oldKernel is a Kernel without mount_setattr and CLOSE_RANGE_CLOEXEC, which knows the mounts of the tree
// that was put on the stage last.
type oldKernel struct {
	FakeKernel
	mounts    []stagedMount
	more      string // lines of other mounts
	covered   bool   // the directory "closed" was
	missing   bool   // what it lacks was tried
	remounted []map[string]uint64
	own       []uint64 // flags of the set-up's own mounts
}

const otherMounts = "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n40 20 0:5 / /proc rw,nosuid - proc proc rw\n41 40 0:30 / /proc rw,nosuid,nodev - tmpfs none rw\n"

func newOldKernel(stat func(string) (FakeStat, int64)) *oldKernel {
	k := &oldKernel{mounts: []stagedMount{
		{500, 41, "", "rw,relatime", 500},
		{501, 500, `/a\040b\134c`, "rw,nosuid,noexec,noatime", 501},
		{502, 500, "/x", "rw,relatime", 503},
		{503, 502, "/x", "rw,nodev,nosymfollow,relatime", 503},
		{504, 502, "/x/y/z", "ro,nosuid,nodev", 503},
		{505, 504, "/x/y/z/w", "rw,relatime", 503},
		{506, 500, "/closed/m", "rw,relatime", 506},
		{507, 500, "/done", "ro,nosuid,nodev,noexec,relatime", 507},
	}}
	k.ExitStatus = 3
	k.Executable = func(path string) bool { return path == "/usr/bin/tool" }
	k.Stat = func(path string) (FakeStat, int64) {
		rest, ok := strings.CutPrefix(path, "tmpfs/stage.d")
		if !ok {
			return stat(path)
		}
		for _, m := range k.mounts {
			if unescape(m.point) == rest {
				return FakeStat{MntID: uint64(m.opens)}, 0
			}
		}
		return FakeStat{}, -int64(unix.ENOENT)
	}
	k.Content = func(path string) []byte {
		if path != "/proc/self/mountinfo" {
			return nil
		}
		return []byte(k.mountinfo())
	}
	k.Answer = k.answerOld
	return k
}

func unescape(s string) string { return strings.NewReplacer(`\040`, " ", `\134`, `\`).Replace(s) }

func (k *oldKernel) mountinfo() string {
	s := otherMounts + k.more
	for i, m := range k.mounts {
		options := m.options
		if flags, ok := k.last()[unescape(m.point)]; ok && m.opens == m.id {
			if flags&unix.MS_RDONLY != 0 {
				options = "ro"
			}
			for _, f := range []struct {
				flag uint64
				text string
			}{{unix.MS_NOSUID, ",nosuid"}, {unix.MS_NODEV, ",nodev"}, {unix.MS_NOEXEC, ",noexec"}, {unix.MS_NOSYMFOLLOW, ",nosymfollow"}} {
				if flags&f.flag != 0 {
					options += f.text
				}
			}
		}
		s += fmt.Sprintf("%d %d 0:%d / /proc/stage.d%s %s - tmpfs none rw\n", m.id, m.parent, 50+i, m.point, options)
	}
	if k.covered {
		s += "600 500 0:90 / /proc/stage.d/closed ro,nosuid,nodev,noexec - tmpfs none ro\n"
	}
	return s + "700 20 0:99 / /proc/stage.dx rw - tmpfs none rw\n"
}

// last is what was remounted of the tree on the stage, by path, and with which flags.
func (k *oldKernel) last() map[string]uint64 {
	if len(k.remounted) == 0 {
		return nil
	}
	return k.remounted[len(k.remounted)-1]
}

func (k *oldKernel) answerOld(p *Process, c plan.Call, args [6]uint64) (int64, bool) {
	e := &k.Trace[len(k.Trace)-1]
	switch c {
	case plan.SysMountSetattr:
		k.missing = true
		return -int64(unix.ENOSYS), true
	case plan.SysCloseRange:
		if args[2] != 0 {
			k.missing = true
			return -int64(unix.EINVAL), true
		}
	case plan.SysMoveMount:
		switch {
		case e.Strings[3] == "stage.d":
			k.remounted = append(k.remounted, map[string]uint64{})
			k.covered = false
		case k.proc(p).files[int32(args[2])].path == "tmpfs/stage.d/closed":
			k.covered = true
		}
	case plan.SysOpenat2:
		if e.Strings[1] == "stage.d/closed/m" {
			if k.covered {
				return -int64(unix.ENOENT), true
			}
			return -int64(unix.EACCES), true
		}
	case plan.SysMount:
		if args[3]&unix.MS_REMOUNT == 0 {
			break
		}
		fd, err := strconv.Atoi(e.Strings[1])
		path := k.proc(p).files[int32(fd)].path
		if err != nil || path == "" {
			return -int64(unix.EINVAL), true
		}
		if below, ok := strings.CutPrefix(path, "tmpfs/stage.d"); ok && k.last() != nil {
			k.last()[below] = args[3]
		} else {
			k.own = append(k.own, args[3])
		}
	}
	return 0, false
}

// TestSimulateOldKernel: without mount_setattr every mount of a tree is
// restricted on its own, and keeps what it had.
func TestSimulateOldKernel(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, standalone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/standalone=%v", arch, standalone), func(t *testing.T) {
				in := profileInput(t, "default", arch)
				want := 0
				if standalone {
					in.Standalone = &plan.Standalone{Command: []string{"tool", "one"}}
					want = 3
				} else {
					in.Facts.MountAPI.MountSetattr, in.Facts.RangeOnExec = false, false
				}
				k := newOldKernel(statOf(in.Facts))
				pl, im, first := simulateOld(t, in, k)
				if first.Status != want {
					t.Fatalf("the image ended with %d, want %d: %s", first.Status, want, failure(&k.FakeKernel, pl, im))
				}
				if k.missing != standalone {
					t.Errorf("what is missing was tried: %v", k.missing)
				}
				const common = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
				tree := map[string]uint64{"": common, `/a b\c`: common | unix.MS_NOEXEC, "/x": common | unix.MS_NOSYMFOLLOW}
				trees := 0
				for _, got := range k.remounted {
					if len(got) == 0 {
						continue // a mount of the set-up's own, whose flags are known
					}
					trees++
					if !maps.Equal(got, tree) {
						t.Errorf("remounted %x, want %x", got, tree)
					}
				}
				for _, flags := range k.own {
					if flags&^unix.MS_NOEXEC&^unix.MS_RDONLY != common&^unix.MS_RDONLY {
						t.Errorf("a mount of its own is remounted with %x", flags)
					}
				}
				if trees < 3 || len(k.own) < 5 {
					t.Errorf("%d trees, %d own mounts", trees, len(k.own))
				}
			})
		}
	}
}

// TestSimulateOldKernelGivesUp: a mount that is never found where mountinfo has
// it, or more of them than can be read, ends the set-up and names the entry.
func TestSimulateOldKernelGivesUp(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*oldKernel)
	}{
		{"renamed", "EBUSY", func(k *oldKernel) { k.mounts[1].opens = 7 }},
		{"mount on it is renamed", "EBUSY", func(k *oldKernel) { k.mounts[2].opens, k.mounts[3].opens = 7, 7 }},
		{"too many", "E2BIG", func(k *oldKernel) {
			k.more = strings.Repeat("9 20 0:1 / /mnt/"+strings.Repeat("long", 50)+" rw - tmpfs none rw\n", 10000)
		}},
		{"not there", "EBUSY", func(k *oldKernel) { k.mounts = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := profileInput(t, "default", "amd64")
			in.Facts.MountAPI.MountSetattr = false
			k := newOldKernel(statOf(in.Facts))
			c.change(k)
			pl, im, _ := simulateOld(t, in, k)
			got := failure(&k.FakeKernel, pl, im)
			if !strings.Contains(got, c.want+": ") || !strings.Contains(got, "read /") || !strings.Contains(got, "mount_setattr") {
				t.Errorf("it says %s", got)
			}
			for _, e := range k.Trace {
				if e.Call == plan.SysPivotRoot {
					t.Error("it went on")
				}
			}
		})
	}
}

func simulateOld(t *testing.T, in plan.Input, k *oldKernel) (*plan.Plan, *Image, *Process) {
	t.Helper()
	pl, err := plan.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	im, err := AssembleFor(Program{GOARCH: pl.GOARCH, Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Simulate(im.ELF, k, SimulateOptions{Args: []string{"tool", "two"}, Env: []string{"PATH=/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	return pl, im, p
}
