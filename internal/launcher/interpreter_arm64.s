#include "textflag.h"

// The interpreter of a launcher image on arm64. It is never called: Assemble
// copies these bytes into the image, where they are the ELF entry point. It
// uses no stack and no memory but the slots, so that a child made by
// clone(CLONE_VM|CLONE_VFORK) can go on in it beside its waiting parent.
//
//	R19  slots (SlotsAddress)
//	R20  operation table
//	R21  current operation, 64 bytes, see layout.go
//	R8   number; R0 to R5 arguments, R0 then result; R9 to R14 scratch
//
// It goes through the same states as interpreter_amd64.s, under the same
// labels. The kernel leaves every register but R0 alone in a system call.
//
// The fixed slots are those of internal/plan: 1 table, 2 first operation,
// 3 argc, 4 argv, 5 envp, 6 failed operation, 7 its errno, 8 fatal handler.

#define SLOTS $0x10400100

TEXT ·interpreter(SB), NOSPLIT|NOFRAME, $0
	MOVD SLOTS, R19
	MOVD (1*8)(R19), R20
	MOVD (2*8)(R19), R21
	// The kernel left argc, the argv pointers, a zero and the envp pointers on the stack.
	MOVD RSP, R9
	MOVD (R9), R10
	MOVD R10, (3*8)(R19)
	ADD  $8, R9, R9
	MOVD R9, (4*8)(R19)
	ADD  R10<<3, R9, R9
	ADD  $8, R9, R9
	MOVD R9, (5*8)(R19)

next:
	MOVBU 2(R21), R9
	LDP   16(R21), (R0, R1)
	LDP   32(R21), (R2, R3)
	LDP   48(R21), (R4, R5)
	TBZ   $0, R9, arg1
	MOVD  (R19)(R0<<3), R0
arg1:
	TBZ   $1, R9, arg2
	MOVD  (R19)(R1<<3), R1
arg2:
	TBZ   $2, R9, arg3
	MOVD  (R19)(R2<<3), R2
arg3:
	TBZ   $3, R9, arg4
	MOVD  (R19)(R3<<3), R3
arg4:
	TBZ   $4, R9, arg5
	MOVD  (R19)(R4<<3), R4
arg5:
	TBZ   $5, R9, number
	MOVD  (R19)(R5<<3), R5
number:
	MOVHU (R21), R8
	TBNZ  $15, R8, pseudo
	SVC

result: // R0 is a result in the kernel's manner: above -4096 an error
	MOVBU 3(R21), R9
	MOVD  R0, (R19)(R9<<3)
	CMN   $4095, R0
	BHS   error
ok:
	MOVHU 10(R21), R9
jump: // R9 is the index of the operation to go to
	ADD   R9<<6, R20, R21
	B     next

value: // R0 is a number that can't be an error
	MOVBU 3(R21), R9
	MOVD  R0, (R19)(R9<<3)
	B     ok

error:
	NEG   R0, R0
	MOVHU 4(R21), R9
	CMPW  R0, R9
	BNE   other
	MOVHU 6(R21), R9
	B     jump
other:
	MOVHU 8(R21), R9
	MOVD  $0xffff, R10
	CMPW  R10, R9
	BNE   jump
	SUB   R20, R21, R10
	LSR   $6, R10, R10
	MOVD  R10, (6*8)(R19)
	MOVD  R0, (7*8)(R19)
	MOVD  (8*8)(R19), R9
	B     jump

pseudo:
	AND   $0x7fff, R8, R8
	CBZ   R8, branch
	CMPW  $2, R8
	BLO   alu
	BEQ   load
	CMPW  $4, R8
	BLO   store
	BEQ   copy
	CMPW  $6, R8
	BLO   format
	BEQ   compare
	CMPW  $8, R8
	BLO   parse
	BEQ   enter
	BRK   $0 // a number that Assemble never writes

branch: // R0 a, R1 mask, R2 b, R3 condition
	AND   R1, R0, R0
	CMPW  $1, R3
	BLO   equal
	BEQ   less
	CMP   R2, R0
	BHI   true
	B     false
less:
	CMP   R2, R0
	BLO   true
	B     false
equal:
	CMP   R2, R0
	BEQ   true
false:
	MOVD  $-1, R0 // EPERM: nothing looks at it
	B     result
true:
	MOVD  ZR, R0
	B     result

alu: // R0 a, R1 shift, R2 mask, R3 left shift, R4 b
	LSR   R1, R0, R0
	AND   R2, R0, R0
	LSL   R3, R0, R0
	ADD   R4, R0, R0
	B     value

load: // R0 address, R1 size
	CMPW  $2, R1
	BLO   load1
	BEQ   load2
	CMPW  $4, R1
	BEQ   load4
	MOVD  (R0), R0
	B     value
load1:
	MOVBU (R0), R0
	B     value
load2:
	MOVHU (R0), R0
	B     value
load4:
	MOVWU (R0), R0
	B     value

store: // R0 address, R1 value, R2 size
	MOVD  R0, R9
	MOVD  ZR, R0
	CMPW  $2, R2
	BLO   store1
	BEQ   store2
	CMPW  $4, R2
	BEQ   store4
	MOVD  R1, (R9)
	B     value
store1:
	MOVB  R1, (R9)
	B     value
store2:
	MOVH  R1, (R9)
	B     value
store4:
	MOVW  R1, (R9)
	B     value

copy: // R0 destination or 0, R1 source, R2 stop byte, R3 most bytes
	MOVD  R0, R9
	MOVD  ZR, R0
copybyte:
	MOVBU (R1)(R0), R10
	CBZ   R10, value
	CMPW  R2, R10
	BEQ   value
	CMP   R3, R0
	BHS   toolong
	CBZ   R9, copied
	MOVB  R10, (R9)(R0)
copied:
	ADD   $1, R0, R0
	B     copybyte
toolong:
	MOVD  $-36, R0 // ENAMETOOLONG
	B     result

format: // R0 destination, R1 number
	MOVD  R0, R9
	MOVD  R1, R10
	MOVD  ZR, R0
	MOVD  $10, R11
digits: // how many digits
	ADD   $1, R0, R0
	UDIV  R11, R10, R10
	CBNZ  R10, digits
	MOVB  ZR, (R9)(R0)
	MOVD  R0, R12
digit:
	UDIV  R11, R1, R10
	MSUB  R11, R1, R10, R13 // R13 = R1 - R10*R11
	ADD   $48, R13, R13
	SUB   $1, R12, R12
	MOVB  R13, (R9)(R12)
	MOVD  R10, R1
	CBNZ  R12, digit
	B     value

compare: // R0 a, R1 b, R2 length
	MOVD  ZR, R9
comparebyte:
	CMP   R2, R9
	BHS   true
	MOVBU (R0)(R9), R10
	MOVBU (R1)(R9), R11
	ADD   $1, R9, R9
	CMPW  R11, R10
	BEQ   comparebyte
	B     false

parse: // R0 address
	MOVD  R0, R9
	MOVD  ZR, R0
	MOVD  $10, R11
parsedigit:
	MOVBU.P 1(R9), R10
	SUBW  $48, R10, R10
	CMPW  $10, R10
	BHS   value
	MADD  R11, R10, R0, R0 // R0 = R0*10 + R10
	B     parsedigit

enter: // R0 address: on with the stack that the kernel gave
	MOVD  R0, R9
	MOVD  ZR, R0
	B     (R9)

	// The end, for interpreterText: bytes that no instruction above makes.
	BRK   $0
	WORD  $0x636f6c63 // "cloc"
	WORD  $0x65206568 // "he e"
	WORD  $0x6f20646e // "nd o"
	WORD  $0x00692066 // "f i", and a byte to fill the word

// func interpreterAddress() unsafe.Pointer
TEXT ·interpreterAddress(SB), NOSPLIT, $0-8
	MOVD $·interpreter(SB), R0
	MOVD R0, ret+0(FP)
	RET
