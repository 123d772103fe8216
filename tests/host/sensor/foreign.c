/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A program that shows that it ran with its very first instructions: one byte to descriptor 3,
 * one to descriptor 4 (a socket, where a test wants to know whether it could talk), then exit
 * code 99. No C library, whose start-up would run before.
 */

#if defined(__x86_64__)
__asm__(".globl _start\n"
	"_start:\n"
	"	lea _start(%rip), %rsi\n"
	"	mov $3, %edi\n"
	"	mov $1, %edx\n"
	"	mov $1, %eax\n"
	"	syscall\n"
	"	mov $4, %edi\n"
	"	mov $1, %eax\n"
	"	syscall\n"
	"	mov $99, %edi\n"
	"	mov $60, %eax\n"
	"	syscall\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n"
	"_start:\n"
	"	adr x1, _start\n"
	"	mov x0, #3\n"
	"	mov x2, #1\n"
	"	mov x8, #64\n"
	"	svc #0\n"
	"	mov x0, #4\n"
	"	svc #0\n"
	"	mov x0, #99\n"
	"	mov x8, #93\n"
	"	svc #0\n");
#else
#error "write the two system calls for this machine"
#endif
