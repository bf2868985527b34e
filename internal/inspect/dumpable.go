package inspect

import "golang.org/x/sys/unix"

// Dumpable is whether a process may be traced and looked into by its own user, prctl(2),
// PR_SET_DUMPABLE: Yes, No, RootOnly (suid_dumpable is 2) or Unknown.
type Dumpable = Answer

// RootOnly is the value of Dumpable for a process whose core root alone may have.
const RootOnly Dumpable = "root-only"

// dumpable asks the pidfd (Linux 6.16). Before, the owner of a file in /proc tells: root
// owns those of a process that is not dumpable. Of a process of root's that says nothing.
func (t *target) dumpable() (d Dumpable) {
	defer func() { t.leader.dumpable = d }()
	if t.pidfd >= 0 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_COREDUMP}
		if unix.IoctlPidfdInfo(t.pidfd, &info) == nil && info.Mask&unix.PIDFD_INFO_COREDUMP != 0 {
			switch {
			case info.Coredump_mask&unix.PIDFD_COREDUMP_USER != 0:
				return Yes
			case info.Coredump_mask&unix.PIDFD_COREDUMP_ROOT != 0:
				return RootOnly
			case info.Coredump_mask&unix.PIDFD_COREDUMP_SKIP != 0:
				return No
			}
		}
	}
	var st unix.Stat_t
	if unix.Fstatat(t.dir, "stat", &st, 0) != nil || t.leader.ids.UIDs[1] == 0 {
		return Unknown
	}
	return answer(st.Uid == t.leader.ids.UIDs[1])
}
