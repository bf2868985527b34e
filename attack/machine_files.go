package attack

import "os"

// Files by which root has the kernel run a program, load code or stop: in its eyes uid
// 0 of the host may write them, whatever its capabilities. They are only opened.
var (
	corePattern    = machineFile("core-pattern", "/proc/sys/kernel/core_pattern", "core(5)", "have the kernel run a program when a process crashes", procStops)
	modprobePath   = machineFile("modprobe-path", "/proc/sys/kernel/modprobe", "proc_sys_kernel(5)", "have the kernel run a program to load a module", procStops)
	poweroffPath   = machineFile("poweroff-command", "/proc/sys/kernel/poweroff_cmd", "proc_sys_kernel(5)", "have the kernel run a program when it powers off", procStops)
	randomizeSpace = machineFile("address-randomization", "/proc/sys/kernel/randomize_va_space", "proc_sys_kernel(5)", "switch the randomisation of addresses off", procStops)
	binfmtMisc     = machineFile("binfmt-misc", "/proc/sys/fs/binfmt_misc/register", "kernel: admin-guide/binfmt-misc", "register an interpreter for the programs of everybody", procStops)
	sysrqTrigger   = machineFile("sysrq-trigger", "/proc/sysrq-trigger", "proc_sysrq-trigger(5)", "stop the machine", procStops)
	ueventHelper   = machineFile("uevent-helper", "/sys/kernel/uevent_helper", "kernel: ABI sysfs-uevent_helper", "have the kernel run a program when a device appears", sysStops)
	releaseAgent   = machineFile("release-agent", "/sys/fs/cgroup/cpu/release_agent", "CVE-2022-0492", "have the kernel run a program when a cgroup gets empty", sysStops)
)

var (
	procStops = []Stop{{ReadOnlyProc, "EROFS"}}
	sysStops  = []Stop{{NoSys, "ENOENT"}}
)

// The firmware's tables name the machine, its maker and where it is hosted.
var firmwareName = Attack{
	Name: "firmware-name", Group: "knowledge", Reference: "kernel: ABI sysfs-firmware-dmi-entries",
	Tries: "read which machine this is",
	Stops: []Stop{{NoSys, "ENOENT"}},
	Needs: func() string {
		if b, err := os.ReadFile(firmwarePath); err != nil || len(b) == 0 {
			return "this machine has no " + firmwarePath
		}
		return ""
	},
	Inside: func(in *Inside) error {
		if _, err := os.ReadFile(firmwarePath); err != nil {
			return Failed(err)
		}
		return nil
	},
}

const firmwarePath = "/sys/class/dmi/id/sys_vendor"

// machineFile is an attack that opens a file for writing, which is all that the
// kernel asks of root.
func machineFile(name, path, reference, tries string, stops []Stop) Attack {
	return Attack{
		Name: name, Group: "mounts", Reference: reference, Tries: tries, Stops: stops,
		Needs: func() string {
			if _, err := os.Stat(path); err != nil {
				return "this machine has no " + path
			}
			return onlyRoot("an ordinary user may not write " + path + " in any case")()
		},
		Inside: func(*Inside) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return Failed(err)
			}
			return f.Close()
		},
	}
}
