package attack

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The other calls that send a signal follow the rule of kill(2).

var tgkillOutside = Attack{
	Name: "tgkill-outside", Group: "signals", Reference: "tgkill(2)",
	Tries:   "send SIGUSR1 to one thread of a process outside",
	Stops:   []Stop{{PIDNamespace, "ESRCH"}, {LandlockScope, "EPERM"}},
	Outside: withVictim,
	Inside: func(in *Inside) error {
		_, err := Call(unix.SYS_TGKILL, uintptr(in.Int("pid")), uintptr(in.Int("pid")), uintptr(unix.SIGUSR1))
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}

var sigqueueOutside = Attack{
	Name: "rt-sigqueueinfo-outside", Group: "signals", Reference: "rt_sigqueueinfo(2)",
	Tries:   "send a signal with forged data to a process outside",
	Stops:   []Stop{{PIDNamespace, "ESRCH"}, {LandlockScope, "EPERM"}},
	Outside: withVictim,
	Inside: func(in *Inside) error {
		info := unix.Siginfo{Signo: int32(unix.SIGUSR1), Code: -1} // SI_QUEUE
		_, err := Call(unix.SYS_RT_SIGQUEUEINFO, uintptr(in.Int("pid")), uintptr(unix.SIGUSR1), uintptr(unsafe.Pointer(&info)))
		runtime.KeepAlive(&info)
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}

// A pidfd names a process whatever pid namespace its holder is in. Here it was
// handed in, by mistake, with the other descriptors.
var pidfdSignalOutside = Attack{
	Name: "pidfd-send-signal-outside", Group: "signals", Reference: "pidfd_send_signal(2)",
	Tries:   "send SIGUSR1 through a pidfd of a process outside that was handed in",
	Stops:   []Stop{{PIDNamespace, "EINVAL"}, {LandlockScope, "EPERM"}},
	Outside: withPidfd,
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_PIDFD_SEND_SIGNAL, 3, uintptr(unix.SIGUSR1), 0, 0)
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}

// F_SETOWN has the kernel send SIGIO, in the name of whoever set it, when a
// descriptor becomes ready.
var sigioOutside = Attack{
	Name: "sigio-outside", Group: "signals", Reference: "F_SETOWN(2const)",
	Tries:   "have the kernel send SIGIO to a process outside",
	Stops:   []Stop{{PIDNamespace, "ESRCH"}, {LandlockScope, Unharmed}},
	Outside: withVictim,
	Inside: func(in *Inside) error {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return Failed(err)
		}
		if _, err := Call(unix.SYS_FCNTL, uintptr(pair[0]), unix.F_SETOWN, uintptr(in.Int("pid"))); err != nil {
			return err
		}
		if _, err := Call(unix.SYS_FCNTL, uintptr(pair[0]), unix.F_SETFL, unix.O_ASYNC); err != nil {
			return err
		}
		_, err = unix.Write(pair[1], []byte{0})
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}

// kill(-1) reaches everything that the caller may signal. Signal 0 asks whether there
// is anybody, and hurts nobody; it does not ask Landlock, which is why that is off here.
var killEveryone = Attack{
	Name: "kill-everyone", Group: "signals", Reference: "kill(2)",
	Tries:   "find processes to signal, all at once",
	Door:    []string{"landlock off"},
	Stops:   []Stop{{PIDNamespace, "ESRCH"}},
	Outside: withVictim,
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_KILL, ^uintptr(0), 0)
		return err
	},
}

// A process that maps root inside has CAP_KILL, over the processes of its own user
// namespace alone.
var mappedRootKill = Attack{
	Name: "mapped-root-kill", Group: "signals", Reference: "user_namespaces(7), capabilities(7) CAP_KILL",
	Tries:   "send SIGUSR1 to a process outside as root of the sandbox's user namespace",
	Door:    []string{"map-root", "cap-add kill"},
	Stops:   []Stop{{PIDNamespace, "ESRCH"}, {LandlockScope, "EPERM"}},
	Outside: withVictim,
	Inside:  killOutside.Inside,
	Escaped: (*Outside).VictimHarmed,
}

func withVictim(o *Outside) error {
	_, err := o.Victim()
	return err
}

// withPidfd hands a pidfd of a victim in, as descriptor 3.
func withPidfd(o *Outside) error {
	v, err := o.Victim()
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(v.PID, 0)
	if err != nil {
		return err
	}
	o.Files = append(o.Files, os.NewFile(uintptr(fd), "pidfd"))
	return nil
}
