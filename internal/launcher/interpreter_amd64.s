#include "textflag.h"

// The interpreter of a launcher image on amd64. It is never called: Assemble
// copies these bytes into the image, where they are the ELF entry point. It
// uses no stack and no memory but the slots, so that a child made by
// clone(CLONE_VM|CLONE_VFORK) can go on in it beside its waiting parent.
//
//	R15  slots (SlotsAddress)
//	R14  operation table
//	R13  current operation, 64 bytes, see layout.go
//	AX   number, then result; DI SI DX R10 R8 R9 arguments; CX R11 BX R12 scratch
//
// The fixed slots are those of internal/plan: 1 table, 2 first operation,
// 3 argc, 4 argv, 5 envp, 6 failed operation, 7 its errno, 8 fatal handler.

#define SLOTS $0x10400100

TEXT ·interpreter(SB), NOSPLIT|NOFRAME, $0
	MOVQ SLOTS, R15
	MOVQ (1*8)(R15), R14
	MOVQ (2*8)(R15), R13
	// The kernel left argc, the argv pointers, a zero and the envp pointers on the stack.
	MOVQ SP, BX
	MOVQ (BX), AX
	MOVQ AX, (3*8)(R15)
	ADDQ $8, BX
	MOVQ BX, (4*8)(R15)
	LEAQ 8(BX)(AX*8), BX
	MOVQ BX, (5*8)(R15)

next:
	MOVBLZX 2(R13), R12
	MOVQ 16(R13), DI
	TESTL $1, R12
	JZ arg1
	MOVQ (R15)(DI*8), DI
arg1:
	MOVQ 24(R13), SI
	TESTL $2, R12
	JZ arg2
	MOVQ (R15)(SI*8), SI
arg2:
	MOVQ 32(R13), DX
	TESTL $4, R12
	JZ arg3
	MOVQ (R15)(DX*8), DX
arg3:
	MOVQ 40(R13), R10
	TESTL $8, R12
	JZ arg4
	MOVQ (R15)(R10*8), R10
arg4:
	MOVQ 48(R13), R8
	TESTL $16, R12
	JZ arg5
	MOVQ (R15)(R8*8), R8
arg5:
	MOVQ 56(R13), R9
	TESTL $32, R12
	JZ number
	MOVQ (R15)(R9*8), R9
number:
	MOVWLZX (R13), AX
	TESTL $0x8000, AX
	JNZ pseudo
	SYSCALL

result: // AX is a result in the kernel's manner: above -4096 an error
	MOVBLZX 3(R13), CX
	MOVQ AX, (R15)(CX*8)
	CMPQ AX, $-4095
	JCC error
ok:
	MOVWLZX 10(R13), CX
jump: // CX is the index of the operation to go to
	SHLQ $6, CX
	LEAQ (R14)(CX*1), R13
	JMP next

value: // AX is a number that can't be an error
	MOVBLZX 3(R13), CX
	MOVQ AX, (R15)(CX*8)
	JMP ok

error:
	NEGQ AX
	MOVWLZX 4(R13), CX
	CMPL CX, AX
	JNE other
	MOVWLZX 6(R13), CX
	JMP jump
other:
	MOVWLZX 8(R13), CX
	CMPL CX, $0xffff
	JNE jump
	MOVQ R13, DX
	SUBQ R14, DX
	SHRQ $6, DX
	MOVQ DX, (6*8)(R15)
	MOVQ AX, (7*8)(R15)
	MOVQ (8*8)(R15), CX
	JMP jump

pseudo:
	ANDL $0x7fff, AX
	JZ branch
	CMPL AX, $2
	JCS alu
	JEQ load
	CMPL AX, $4
	JCS store
	JEQ copy
	CMPL AX, $6
	JCS format
	JEQ compare
	CMPL AX, $8
	JCS parse
	JEQ enter
	INT $3 // a number that Assemble never writes

branch: // DI a, SI mask, DX b, R10 condition
	ANDQ SI, DI
	CMPL R10, $1
	JCS equal
	JEQ less
	CMPQ DI, DX
	JHI true
	JMP false
less:
	CMPQ DI, DX
	JCS true
	JMP false
equal:
	CMPQ DI, DX
	JEQ true
false:
	MOVQ $-1, AX // EPERM: nothing looks at it
	JMP result
true:
	XORL AX, AX
	JMP result

alu: // DI a, SI shift, DX mask, R10 left shift, R8 b
	MOVQ SI, CX
	SHRQ CX, DI
	ANDQ DX, DI
	MOVQ R10, CX
	SHLQ CX, DI
	LEAQ (DI)(R8*1), AX
	JMP value

load: // DI address, SI size
	CMPL SI, $2
	JCS load1
	JEQ load2
	CMPL SI, $4
	JEQ load4
	MOVQ (DI), AX
	JMP value
load1:
	MOVBLZX (DI), AX
	JMP value
load2:
	MOVWLZX (DI), AX
	JMP value
load4:
	MOVL (DI), AX
	JMP value

store: // DI address, SI value, DX size
	XORL AX, AX
	CMPL DX, $2
	JCS store1
	JEQ store2
	CMPL DX, $4
	JEQ store4
	MOVQ SI, (DI)
	JMP value
store1:
	MOVB SI, (DI)
	JMP value
store2:
	MOVW SI, (DI)
	JMP value
store4:
	MOVL SI, (DI)
	JMP value

copy: // DI destination or 0, SI source, DX stop byte, R10 most bytes
	XORL AX, AX
copybyte:
	MOVBLZX (SI)(AX*1), CX
	TESTL CX, CX
	JZ value
	CMPL CX, DX
	JEQ value
	CMPQ AX, R10
	JCC toolong
	TESTQ DI, DI
	JZ copied
	MOVB CX, (DI)(AX*1)
copied:
	INCQ AX
	JMP copybyte
toolong:
	MOVQ $-36, AX // ENAMETOOLONG
	JMP result

format: // DI destination, SI number
	MOVQ SI, AX
	XORL CX, CX
	MOVL $10, R8
digits: // how many digits
	INCQ CX
	XORL DX, DX
	DIVQ R8
	TESTQ AX, AX
	JNZ digits
	MOVQ CX, R9
	MOVQ SI, AX
	MOVB $0, (DI)(CX*1)
digit:
	XORL DX, DX
	DIVQ R8
	ADDL $48, DX
	DECQ CX
	MOVB DX, (DI)(CX*1)
	JNZ digit
	MOVQ R9, AX
	JMP value

compare: // DI a, SI b, DX length
	XORL AX, AX
comparebyte:
	CMPQ AX, DX
	JCC true
	MOVBLZX (DI)(AX*1), CX
	MOVBLZX (SI)(AX*1), R8
	INCQ AX
	CMPL CX, R8
	JEQ comparebyte
	JMP false

parse: // DI address
	XORL AX, AX
parsedigit:
	MOVBLZX (DI), CX
	SUBL $48, CX
	CMPL CX, $10
	JCC value
	IMULQ $10, AX
	ADDQ CX, AX
	INCQ DI
	JMP parsedigit

enter: // DI address: on with the registers and the stack that the kernel gave
	XORL DX, DX
	JMP DI

	// The end, for interpreterText: sixteen bytes that no instruction above makes.
	INT $3
	BYTE $0x63; BYTE $0x6c; BYTE $0x6f; BYTE $0x63; BYTE $0x68
	BYTE $0x65; BYTE $0x20; BYTE $0x65; BYTE $0x6e; BYTE $0x64
	BYTE $0x20; BYTE $0x6f; BYTE $0x66; BYTE $0x20; BYTE $0x69

// func interpreterAddress() unsafe.Pointer
TEXT ·interpreterAddress(SB), NOSPLIT, $0-8
	LEAQ ·interpreter(SB), AX
	MOVQ AX, ret+0(FP)
	RET
