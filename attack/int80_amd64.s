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
