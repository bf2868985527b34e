#include "textflag.h"

// The program's sigaction(3), for the runtime: it looks for one here before it
// makes the system call itself.
DATA _cgo_sigaction+0(SB)/8, $·watchSigaction(SB)
GLOBL _cgo_sigaction(SB), NOPTR, $8

// int watchSigaction(int sig, new, old), with C's registers: the system call
// rt_sigaction(2), and a note of what was ignored.
TEXT ·watchSigaction(SB), NOSPLIT|NOFRAME, $0
	MOVQ	$8, R10
	MOVL	$13, AX
	SYSCALL
	NEGL	AX
	JNE	done
	TESTQ	DX, DX
	JEQ	done
	CMPQ	(DX), $1	// SIG_IGN
	JNE	done
	DECL	DI
	MOVL	DI, DI
	BTSQ	DI, ·inheritedIgnored(SB)
done:
	RET

// func rawHandlerAddress() uintptr
TEXT ·rawHandlerAddress(SB), NOSPLIT, $0-8
	LEAQ	·rawHandler(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// void rawHandler(int sig, siginfo_t *info, void *context), with C's registers, on
// the thread's signal stack. No goroutine is known here.
TEXT ·rawHandler(SB), NOSPLIT|NOFRAME, $0
	MOVL	8(SI), AX	// si_code: above 0 the kernel itself sent it
	CMPL	AX, $0
	JGT	own
	CMPL	AX, $-6	// SI_TKILL: the runtime's own way
	JNE	outside
	MOVL	16(SI), AX	// si_pid
	CMPL	AX, ·rawPID(SB)
	JEQ	own
outside:
	PUSHQ	DI
	MOVL	·rawPipe(SB), DI
	MOVQ	SP, SI
	MOVL	$1, DX
	MOVL	$1, AX	// write
	SYSCALL
	POPQ	DI
	RET
own:
	CMPL	DI, $21	// SIGTTIN
	JEQ	stop
	CMPL	DI, $22	// SIGTTOU
	JEQ	stop
	LEAQ	·rawNext(SB), AX
	MOVL	DI, CX
	MOVQ	(AX)(CX*8), AX
	TESTQ	AX, AX
	JEQ	outside
	JMP	AX
stop:
	MOVL	·rawPID(SB), DI
	MOVL	$19, SI	// SIGSTOP
	MOVL	$62, AX	// kill
	SYSCALL
	RET
