#include "textflag.h"

// Handlers of signals, as the kernel calls them: R0 signal, R1 siginfo, R2 context, and
// no Go around them. All registers are brought back by sigreturn(2).

TEXT relayFault<>(SB), NOSPLIT|NOFRAME, $0
	MOVW 8(R1), R3 // si_code: above 0 it is from the kernel
	CMPW $0, R3
	BLE sent
	MOVD relayRuntimes<>(SB), R3
	JMP (R3)
sent:
	JMP relaySignal<>(SB)

TEXT relaySignal<>(SB), NOSPLIT|NOFRAME, $0
	MOVD $1, R4
	SUBW $1, R0, R5
	LSL R5, R4, R4
	MOVD $·relayPending(SB), R6
set:
	LDAXR (R6), R7
	ORR R4, R7, R7
	STLXR R7, (R6), R8
	CBNZ R8, set
	MOVD $·relayTarget(SB), R9
	LDARW (R9), R9
	TBNZ $31, R9, done
clear:
	LDAXR (R6), R7
	TST R4, R7
	BEQ done // somebody else has sent it
	BIC R4, R7, R7
	STLXR R7, (R6), R8
	CBNZ R8, clear
	MOVW R0, R1
	MOVW R9, R0
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD $424, R8 // pidfd_send_signal
	SVC
done:
	RET

GLOBL relayRuntimes<>(SB), NOPTR, $8

// func relayHandlers(runtimes uintptr) (all, faults uintptr)
TEXT ·relayHandlers(SB), NOSPLIT, $0-24
	MOVD runtimes+0(FP), R0
	MOVD R0, relayRuntimes<>(SB)
	MOVD $relaySignal<>(SB), R0
	MOVD R0, all+8(FP)
	MOVD $relayFault<>(SB), R0
	MOVD R0, faults+16(FP)
	RET
