/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a task keeps the addresses at which it continues, see
 * <linux/stack_scan.h>. On s390 all of them are on the task's own stack:
 *
 * - __switch_to_asm() stores r6 to r15 there. A task that was preempted has all
 *   its registers in a struct pt_regs there, and in its PSW the address at
 *   which the task was interrupted;
 * - interrupts that hit the kernel save the registers on the stack of the task,
 *   and switch to a stack of their own only in between; a task that handles a
 *   machine check or a restart is not scheduled away;
 * - from the branch at the entry of a function to ftrace_caller, and from there
 *   to where the call continues, the address is in registers. The only C code
 *   that runs is what ftrace_caller calls, with a copy of them on the stack;
 * - BPF trampolines keep the address where a call continues in a register. They
 *   are generated code, as are the hotpatch trampolines of modules. Those of
 *   the kernel have it in memory, and read it again when the task continues;
 * - a virtual CPU that is scheduled away has left the guest before.
 */
#ifndef _ASM_S390_STACK_SCAN_H
#define _ASM_S390_STACK_SCAN_H

#include <linux/kernel.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include <asm/sections.h>

/* The stack pointer of a task that was switched out. */
static __always_inline unsigned long arch_stack_pointer(struct task_struct *task)
{
	return task->thread.ksp;
}

/* Modules and generated code are below the kernel, whose text is scattered. */
static __always_inline bool arch_may_be_code(unsigned long addr)
{
	return addr >= MODULES_VADDR && addr < (unsigned long)_end;
}

/* Generated code shares the address range of modules. */
static __always_inline bool arch_may_be_generated(unsigned long addr)
{
	return addr < MODULES_END;
}

/*
 * User space is another address space, so pointers to it may have the same
 * values; most tasks in a system call have some on their stack. So ask the
 * code generators. None of them knows the hotpatch trampolines of modules; see
 * above for why these do not matter.
 */
static __always_inline bool arch_is_generated(unsigned long addr)
{
	return kernel_text_address(addr);
}

#endif /* _ASM_S390_STACK_SCAN_H */
