package seccomp

// Width is how many bits of an argument of a call the kernel looks at, from the
// lowest: 64, 32, 16 (modes of files, umode_t), or 0 where the call takes no such
// argument. arg counts from 0. Of a call that is not known it is 64.
//
// A register has 64 bits, and the filter sees all of them, but the kernel drops
// what the parameter's type has no place for. A rule that compares more than the
// kernel looks at can be gone around by setting a bit above: ioctl takes
// 0x100005412 as TIOCSTI, and filters that denied TIOCSTI by a comparison of 64
// bits let it pass (CVE-2019-10063). A rule that compares fewer bits than the
// kernel looks at fails the other way: for clone, whose flags are unsigned long,
// 32 bits would leave the upper flags unseen. So compare with [Arg].Low32 exactly
// where Width is 32. There is no comparison of 16 bits; test bits of a mode with
// [MaskedEqual].
//
// The types are those of 64-bit architectures. On x86 and ARM a register has 32
// bits, so that the upper word is always 0 and either comparison is right, but
// their old calls for ids (chown, setuid and the like; not chown32) look at 16.
// What x32 has numbers from 512 on for takes a long of 32 bits.
func Width(call string, arg int) int {
	row, ok := find(call)
	if !ok {
		return 64
	}
	if arg < 0 || arg >= len(calls[row].widths) {
		return 0
	}
	return 8 * int(calls[row].widths[arg]-'0')
}
