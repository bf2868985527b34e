#include "textflag.h"

// Handlers of signals, as the kernel calls them: DI signal, SI siginfo, DX context, and
// no Go around them. All registers are brought back by sigreturn(2).

TEXT relayFault<>(SB), NOSPLIT|NOFRAME, $0
	CMPL 8(SI), $0 // si_code: above 0 it is from the kernel
	JLE sent
	MOVQ relayRuntimes<>(SB), AX
	JMP AX
sent:
	JMP relaySignal<>(SB)

TEXT relaySignal<>(SB), NOSPLIT|NOFRAME, $0
	LEAL -1(DI), CX
	LOCK
	BTSQ CX, ·relayPending(SB)
	MOVL ·relayTarget(SB), AX
	TESTL AX, AX
	JLT done
	LOCK
	BTRQ CX, ·relayPending(SB)
	JCC done // somebody else has sent it
	MOVL DI, SI
	MOVL AX, DI
	XORL DX, DX
	XORL R10, R10
	MOVL $424, AX // pidfd_send_signal
	SYSCALL
done:
	RET

GLOBL relayRuntimes<>(SB), NOPTR, $8

// func relayHandlers(runtimes uintptr) (all, faults uintptr)
TEXT ·relayHandlers(SB), NOSPLIT, $0-24
	MOVQ runtimes+0(FP), AX
	MOVQ AX, relayRuntimes<>(SB)
	LEAQ relaySignal<>(SB), AX
	MOVQ AX, all+8(FP)
	LEAQ relayFault<>(SB), AX
	MOVQ AX, faults+16(FP)
	RET
