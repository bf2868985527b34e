#include "textflag.h"

// The program's sigaction(3), for the runtime: it looks for one here before it
// makes the system call itself.
DATA _cgo_sigaction+0(SB)/8, $·watchSigaction(SB)
GLOBL _cgo_sigaction(SB), NOPTR, $8

// int watchSigaction(int sig, new, old), with C's registers: the system call
// rt_sigaction(2), and a note of what was ignored.
TEXT ·watchSigaction(SB), NOSPLIT|NOFRAME, $0
	MOVD	R0, R9
	MOVD	$8, R3
	MOVD	$134, R8
	SVC
	NEG	R0, R0
	CBNZ	R0, done
	CBZ	R2, done
	MOVD	(R2), R10
	CMP	$1, R10	// SIG_IGN
	BNE	done
	SUB	$1, R9
	MOVD	$1, R10
	LSL	R9, R10
	MOVD	·inheritedIgnored(SB), R11
	ORR	R10, R11
	MOVD	R11, ·inheritedIgnored(SB)
done:
	RET

// func rawHandlerAddress() uintptr
TEXT ·rawHandlerAddress(SB), NOSPLIT, $0-8
	MOVD	$·rawHandler(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// void rawHandler(int sig, siginfo_t *info, void *context), with C's registers, on
// the thread's signal stack. No goroutine is known here.
TEXT ·rawHandler(SB), NOSPLIT|NOFRAME, $0
	MOVW	8(R1), R9	// si_code: above 0 the kernel itself sent it
	CMPW	$0, R9
	BGT	own
	CMPW	$-6, R9	// SI_TKILL: the runtime's own way
	BNE	outside
	MOVWU	16(R1), R9	// si_pid
	MOVWU	·rawPID(SB), R10
	CMPW	R9, R10
	BEQ	own
outside:
	SUB	$16, RSP
	MOVB	R0, (RSP)
	MOVWU	·rawPipe(SB), R0
	MOVD	RSP, R1
	MOVD	$1, R2
	MOVD	$64, R8	// write
	SVC
	ADD	$16, RSP
	RET
own:
	CMPW	$21, R0	// SIGTTIN
	BEQ	stop
	CMPW	$22, R0	// SIGTTOU
	BEQ	stop
	MOVD	$·rawNext(SB), R9
	ADD	R0<<3, R9
	MOVD	(R9), R9
	CBZ	R9, outside
	JMP	(R9)
stop:
	MOVWU	·rawPID(SB), R0
	MOVD	$19, R1	// SIGSTOP
	MOVD	$129, R8	// kill
	SVC
	RET
