package launcher

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// TestMemoryOfWaiting measures an image that has given its set-up part back and
// waits, as pid 1 of a sandbox does.
func TestMemoryOfWaiting(t *testing.T) {
	if os.Getenv(qemuVariable) != "" {
		needs.Elsewhere(t, "an emulator's memory is not the image's")
	}
	p := typicalProgram(300)
	p.Vars = plan.MaxVars
	scratch := &plan.Data{Section: plan.SetupRW, Size: 64 << 10}
	var ops []plan.Op
	for i := range p.Ops[:300] {
		o := p.Ops[i]
		if o.Call == plan.SysSeccomp || o.Call == plan.SysClose {
			o.Call = plan.SysGetpid // the same data, and harmless
		}
		o.IgnoreErr, o.Resident, o.Errno = true, false, 0
		ops = append(ops, o)
	}
	for at := 0; at < scratch.Size; at += 4096 {
		ops = append(ops, op(plan.Store, plan.RefAt(scratch, at), num(1), num(8)))
	}
	for _, o := range []plan.Op{
		op(plan.SysMunmap, plan.RegionArg(plan.SetupROAddress), plan.RegionArg(plan.SetupROLength)),
		op(plan.SysMunmap, plan.RegionArg(plan.SetupRWAddress), plan.RegionArg(plan.SetupRWLength)),
		// The stack holds argv and envp alone. How far it reaches nobody knows:
		// madvise(2) goes on behind holes, and only then says ENOMEM.
		op(plan.Alu, plan.Slot(plan.VarArgv), num(12), num(math.MaxUint64), num(12), num(0)),
		op(plan.SysMadvise, plan.Slot(r), num(16<<20), num(4)), // MADV_DONTNEED
		op(plan.SysWrite, num(1), plan.Ref(&plan.Data{Section: plan.ResidentRO, Bytes: []byte("ready")}), num(5)),
		op(plan.SysRead, num(0), plan.Ref(&plan.Data{Section: plan.ResidentRW, Size: 128}), num(128)),
		exit(num(0)),
	} {
		o.Resident = true
		o.IgnoreErr = o.Call == plan.SysMadvise
		ops = append(ops, o)
	}
	im := assembled(t, append(ops, dump()...))
	c := &exec.Cmd{Path: writeImage(t, im.ELF), Args: []string{"init"}}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = c.Wait() }()
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	file := fmt.Sprintf("/proc/%d/smaps", c.Process.Pid)
	all, err := os.ReadFile(file)
	if err != nil {
		needs.Kernel(t, "no smaps: "+err.Error(), "", "PROC_PAGE_MONITOR")
	}
	kib := map[string]int{}
	for line := range bytes.Lines(all) {
		var name string
		var n int
		if k, _ := fmt.Sscanf(string(line), "%s %d kB", &name, &n); k == 2 {
			kib[strings.TrimSuffix(name, ":")] += n
		}
	}
	t.Logf("image of %d bytes: %d KiB private dirty, %d KiB resident", len(im.ELF), kib["Private_Dirty"], kib["Rss"])
	if kib["Rss"] == 0 {
		t.Error("it did not wait")
	}
	if kib["Private_Dirty"] > 8 || kib["Rss"] > 40 {
		t.Errorf("%d KiB private dirty (at most 8), %d KiB resident (at most 40)\n%s", kib["Private_Dirty"], kib["Rss"], all)
	}
}
