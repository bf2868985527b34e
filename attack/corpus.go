package attack

import "slices"

// Groups are what attacks go through, in the order of the report.
var Groups = []string{
	"ptrace", "descriptors", "mounts", "namespaces", "credentials", "signals", "seccomp", "limits", "network", "knowledge",
}

// Corpus is every attack, by group.
func Corpus() []*Attack { return slices.Concat(corpus[:], foreignNumbers) }

var corpus = [...]*Attack{
	&processVMRead,
	&processVMWrite,
	&ptraceAttach,
	&ptraceSeize,
	&ptracePoke,
	&ptracePidOne,
	&memoryFileOutside,
	&pidfdGetfd,
	&pidOneMemory,
	&pidOneExecutable,
	&handedOverAbstract,
	&handedOverPath,
	&handedOverInherited,
	&directoryHandedIn,
	&rootOfProcess,
	&fileOutside,
	&chrootDotDot,
	&pivotRootAgain,
	&mountOver,
	&bindOver,
	&unmountMask,
	&remountWritable,
	&mountSetattr,
	&openTreeClone,
	&newFileSystem,
	&makeDeviceNode,
	&openDeviceNode,
	&openByHandle,
	&corePattern,
	&modprobePath,
	&poweroffPath,
	&randomizeSpace,
	&binfmtMisc,
	&sysrqTrigger,
	&ueventHelper,
	&releaseAgent,
	&nestedUserNamespace,
	&setnsNet,
	&setnsIPC,
	&setnsUTS,
	&setnsCgroup,
	&setnsPID,
	&ambientAgain,
	&permittedAgain,
	&secureBitsAgain,
	&anotherUser,
	&killOutside,
	&tgkillOutside,
	&sigqueueOutside,
	&pidfdSignalOutside,
	&sigioOutside,
	&killEveryone,
	&mappedRootKill,
	&terminalInputHighBits,
	&ioUring,
	&clone3Namespace,
	&afALG,
	&afVSOCK,
	&ueventSocket,
	&userfaultFD,
	&sessionKeyring,
	&readImpliesExec,
	&fanotify,
	&filterOnTop,
	&filterlessThread,
	&forkBomb,
	&forkBombRlimit,
	&memoryAnonymous,
	&memoryTmpfs,
	&memoryMemfd,
	&burnCPU,
	&stayLonger,
	&stopped,
	&muchOutput,
	&manyFiles,
	&fullDisk,
	&abstractSocket,
	&loopbackService,
	&packetSocket,
	&pidOneEnvironment,
	&secretVariable,
	&procKeys,
	&procTimerList,
	&kernelLog,
	&rawSocket,
}

// ByName finds an attack.
func ByName(name string) (*Attack, bool) {
	for _, a := range Corpus() {
		if a.Name == name {
			return a, true
		}
	}
	return nil, false
}
