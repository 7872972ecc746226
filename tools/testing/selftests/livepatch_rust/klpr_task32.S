/* SPDX-License-Identifier: GPL-2.0 */
/*
 * klpr_task.c for tasks of 32 bits on x86, without a C library, which few
 * systems have for 32 bits.
 */
	.text
	.globl	_start
_start:
	cmpl	$2, (%esp)		/* argc */
	jne	usage
	movl	8(%esp), %eax		/* argv[1] */
	cmpb	$'p', 1(%eax)
	je	spin
	cmpb	$'y', 1(%eax)
	jne	usage
syscall:
	movl	$64, %eax		/* getppid() */
	int	$0x80
	jmp	syscall
spin:
	jmp	spin
usage:
	movl	$4, %eax		/* write() */
	movl	$2, %ebx
	movl	$text, %ecx
	movl	$length, %edx
	int	$0x80
	movl	$1, %eax		/* exit() */
	movl	$2, %ebx
	int	$0x80
text:
	.ascii	"usage: klpr_task32 spin|syscall\n"
	.set	length, . - text
	.section .note.GNU-stack, "", @progbits
