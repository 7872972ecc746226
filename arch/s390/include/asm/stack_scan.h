/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the words of a stack are that say where a task goes, see
 * <linux/stack_scan.h>. On s390 they are all on the task's own stack:
 *
 * - __switch_to_asm() stores r6 to r15 there, and a task that was preempted has all of
 *   its registers in a struct pt_regs, and the address that it was interrupted at in
 *   the PSW in there;
 * - interrupts of the kernel save the registers on the stack of the task, and only in
 *   between run on one of their own; a task that handles a machine check or a restart
 *   is not scheduled away;
 * - from the branch at the entry of a function to ftrace_caller, and from there to where
 *   the call goes on, the address is in registers, and no C code runs but what
 *   ftrace_caller calls, with a copy of them on the stack;
 * - trampolines of BPF keep the address where a call goes on in a register. They are
 *   generated code, as are the hotpatch trampolines of modules. Those of the kernel have
 *   it in memory, and read it again when the task goes on;
 * - a virtual CPU that has given way has left the guest before.
 */
#ifndef _ASM_S390_STACK_SCAN_H
#define _ASM_S390_STACK_SCAN_H

#include <linux/kernel.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include <asm/sections.h>

/* Of a task that was switched out. */
static __always_inline unsigned long arch_stack_pointer(struct task_struct *task)
{
	return task->thread.ksp;
}

/* Modules and generated code are below the kernel, whose text is in several places. */
static __always_inline bool arch_may_be_code(unsigned long addr)
{
	return addr >= MODULES_VADDR && addr < (unsigned long)_end;
}

/* Generated code shares the room of modules. */
static __always_inline bool arch_may_be_generated(unsigned long addr)
{
	return addr < MODULES_END;
}

/*
 * Pointers to user space may be the same numbers, as that is another address space;
 * they are on the stack of most tasks that are in a system call. So ask those who
 * generate code. Nobody tells the hotpatch trampolines of modules; see above for why
 * they do not matter.
 */
static __always_inline bool arch_is_generated(unsigned long addr)
{
	return kernel_text_address(addr);
}

#endif /* _ASM_S390_STACK_SCAN_H */
