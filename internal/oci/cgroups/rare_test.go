package cgroups

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// diskBelow is the disk that a directory's file system is on; 0, 0: none, or more than one.
func diskBelow(t *testing.T, dir string) (major, minor int64) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	at, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return 0, 0
	}
	if unix.Access(path.Join(at, "partition"), unix.F_OK) == nil {
		at = path.Dir(at)
	}
	text, _ := os.ReadFile(path.Join(at, "dev"))
	_, _ = fmt.Sscanf(string(text), "%d:%d", &major, &minor)
	return major, minor
}

// TestRareResources: what few kernels have all of is set where this one has it, and refused by its
// name where it has not.
func TestRareResources(t *testing.T) {
	parent := top(t)
	g := prepare(t, Config{ID: "rare", Path: parent + "/rare", Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}})
	dir := t.TempDir()
	major, minor := diskBelow(t, dir)
	throttle := []specs.LinuxThrottleDevice{{Rate: 4 << 20}}
	throttle[0].Major, throttle[0].Minor = major, minor
	dev := fmt.Sprintf("%d:%d ", major, minor)
	set := map[string]bool{}
	for _, tt := range []struct {
		field string
		r     specs.LinuxResources
		files map[string]string // of v1 or of cgroup2, and a line that it has then
	}{
		{"blockIO.throttleReadBpsDevice", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle}}, map[string]string{"blkio.throttle.read_bps_device": dev + "4194304", "io.max": "rbps=4194304"}},
		{"blockIO.throttleWriteBpsDevice", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleWriteBpsDevice: throttle}}, map[string]string{"blkio.throttle.write_bps_device": dev + "4194304", "io.max": "wbps=4194304"}},
		{"blockIO.throttleReadIOPSDevice", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadIOPSDevice: throttle}}, map[string]string{"blkio.throttle.read_iops_device": dev + "4194304", "io.max": "riops=4194304"}},
		{"blockIO.throttleWriteIOPSDevice", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleWriteIOPSDevice: throttle}}, map[string]string{"blkio.throttle.write_iops_device": dev + "4194304", "io.max": "wiops=4194304"}},
		{"blockIO.weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(200))}}, map[string]string{"blkio.weight": "200", "blkio.bfq.weight": "200", "io.weight": "default 1920", "io.bfq.weight": "default 200"}},
		{"hugepageLimits.2MB", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}}, map[string]string{"hugetlb.2MB.limit_in_bytes": "4194304", "hugetlb.2MB.max": "4194304"}},
		{"network.classID", specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(0x100001))}}, map[string]string{"net_cls.classid": "1048577"}},
		{"network.priorities", specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 7}}}}, map[string]string{"net_prio.ifpriomap": "lo 7"}},
		{"rdma.none0", specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"none0": {HcaHandles: ptr(uint32(3))}}}, nil}, // a device that is not there
	} {
		if strings.HasPrefix(tt.field, "blockIO.throttle") && major == 0 {
			continue
		}
		var has []string
		for _, d := range g.State().Dirs {
			for file := range tt.files {
				if p := path.Join(d.Path, file); unix.Access(p, unix.F_OK) == nil {
					has = append(has, p)
				}
			}
		}
		slices.Sort(has) // a weight that BFQ has a file of its own for is written there: that sorts before the other
		err := g.Update(&tt.r, "1.0.2")
		if len(has) == 0 {
			if err == nil || !strings.HasPrefix(err.Error(), "linux.resources."+tt.field+": ") {
				t.Errorf("%s, which this kernel has not: %v", tt.field, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.field, err)
			continue
		}
		set[tt.field] = true
		text, err := os.ReadFile(has[0])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), tt.files[path.Base(has[0])]) {
			t.Errorf("%s: %s is %q, want %q", tt.field, has[0], text, tt.files[path.Base(has[0])])
		}
	}
	t.Logf("set here: %v", slices.Sorted(maps.Keys(set)))
	if !set["blockIO.throttleReadBpsDevice"] {
		return
	}
	// A limit takes time: 4 MiB at 4 MiB a second, of which the kernel lets the first part through at once.
	file := path.Join(dir, "file")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil { // what is read past the cache has to be on the disk
		t.Fatal(err)
	}
	begun := time.Now()
	cmd, out := start(t, g, "exec dd if="+file+" of=/dev/null iflag=direct bs=1M count=4")
	if err := cmd.Wait(); err != nil {
		t.Logf("a file in %s can't be read past the cache: %v: %s", dir, err, out)
		return
	}
	if took := time.Since(begun); took < 400*time.Millisecond {
		t.Errorf("4 MiB took %v at 4 MiB a second", took)
	}
}
