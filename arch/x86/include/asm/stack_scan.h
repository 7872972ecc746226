/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a task keeps the addresses at which it continues, see
 * <linux/stack_scan.h>. On x86_64 all of them are on the task's own stack:
 *
 * - __switch_to_asm() pushes the callee-saved registers, and a task that was
 *   preempted has all its registers in a struct pt_regs;
 * - interrupts that hit the kernel begin and end on the stack of the task, and
 *   switch to a stack of their own only in between; a task that runs on the
 *   stack of an NMI, a machine check, a debug exception or the entry trampoline
 *   is not scheduled away;
 * - a new task begins with a frame as if it had called __switch_to_asm();
 * - a virtual CPU that is scheduled away has left the guest before, and the
 *   address where guests exit to is in no function that can be patched.
 */
#ifndef _ASM_X86_STACK_SCAN_H
#define _ASM_X86_STACK_SCAN_H

#include <linux/pgtable.h>
#include <linux/sched.h>

#include <asm/asm.h>
#include <asm/page_types.h>

/* The stack pointer of a task that was switched out. */
static __always_inline unsigned long arch_stack_pointer(struct task_struct *task)
{
	return task->thread.sp;
}

/* The kernel's text, modules and generated code are in the top 2 GB. */
static __always_inline bool arch_may_be_code(unsigned long addr)
{
	return addr >= __START_KERNEL_map;
}

/* Generated code shares the address range of modules. */
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
