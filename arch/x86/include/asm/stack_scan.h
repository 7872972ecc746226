/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the words of a stack are that say where a task goes, see
 * <linux/stack_scan.h>. On x86_64 they are all on the task's own stack:
 *
 * - __switch_to_asm() pushes the registers that calls preserve, and a task that was
 *   preempted has all of them in a struct pt_regs;
 * - interrupts of the kernel begin and end on the stack of the task, and only in
 *   between run on one of their own; a task that runs on the stack of an NMI, a
 *   machine check, a debug exception or the entry trampoline is not scheduled away;
 * - a new task begins with a frame as if it had called __switch_to_asm();
 * - a virtual CPU that has given way has left the guest before, and the address
 *   where guests exit to is in no function that can be patched.
 */
#ifndef _ASM_X86_STACK_SCAN_H
#define _ASM_X86_STACK_SCAN_H

#include <linux/pgtable.h>
#include <linux/sched.h>

#include <asm/asm.h>
#include <asm/page_types.h>

/* Of a task that was switched out. */
static __always_inline unsigned long arch_stack_pointer(struct task_struct *task)
{
	return task->thread.sp;
}

/* The kernel's text, modules and generated code are in the top 2 GB. */
static __always_inline bool arch_may_be_code(unsigned long addr)
{
	return addr >= __START_KERNEL_map;
}

/* Generated code shares the room of modules. */
static __always_inline bool arch_may_be_generated(unsigned long addr)
{
	return addr >= MODULES_VADDR && addr < MODULES_END;
}

/* Nothing else is there. */
static __always_inline bool arch_is_generated(unsigned long addr)
{
	return true;
}

#endif /* _ASM_X86_STACK_SCAN_H */
