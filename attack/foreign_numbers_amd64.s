#include "textflag.h"

// func int80(nr uintptr) uintptr
//
// A system call of i386, which a 64-bit program may make all the same.
TEXT ·int80(SB), NOSPLIT, $0-16
	MOVQ nr+0(FP), AX
	XORL BX, BX
	INT  $0x80
	MOVQ AX, ret+8(FP)
	RET

// func vsyscallTime() int64
//
// time(NULL) at its place in the page of vsyscalls, which is called as a function.
TEXT ·vsyscallTime(SB), NOSPLIT, $8-8
	XORL DI, DI
	MOVQ $0xffffffffff600400, AX
	CALL AX
	MOVQ AX, ret+0(FP)
	RET
