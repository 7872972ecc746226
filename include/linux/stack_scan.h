/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Looking for addresses of code on the stack of a task that does not run.
 *
 * A task that does not run has its registers on its stack. So if no word there is
 * an address in a piece of code, the task is not in it, and does not return to it.
 * That holds without knowing where frames begin, also for a task that was preempted
 * by an interrupt. It costs a fraction of unwinding the stack.
 *
 * For the current task the same is true of its callers, from a frame on. Registers
 * that they have left to those they call may be anywhere then, which does not
 * matter: no return address is only there.
 *
 * If a word is such an address, nothing follows: it may be left over from an
 * earlier call. Somebody else has to decide then, as the reliable unwinder does.
 *
 * The same goes for what the words cannot tell:
 *
 * - Return addresses that are kept elsewhere. Tracers that want to see a function
 *   return replace its return address on the stack by their own: the function graph
 *   tracer, and with it fprobes, and rethooks, and with them kretprobes.
 *   stack_scan_start() refuses such a task.
 * - Code that was generated, and goes on elsewhere by an instruction that says where:
 *   the slots of kprobes, optimized ones in particular, go back to the function that
 *   is probed; trampolines of BPF call the function that they are attached to. A task
 *   in there has an address of that code on its stack, which is neither in the
 *   kernel's text nor in a module. stack_scan_next() stops there.
 *
 * What compiled code does is seen: wherever it goes, other than from one function to
 * the beginning of another one, it goes by a return address. With one exception, for
 * who looks for a function: a part of it that the compiler has put elsewhere goes
 * back to it by a jump. Such parts are to be looked for, too.
 *
 * A pointer to the beginning of a function, to be called, may or may not be seen.
 */
#ifndef _LINUX_STACK_SCAN_H
#define _LINUX_STACK_SCAN_H

#include <linux/types.h>

struct task_struct;

/**
 * struct stack_scan - a scan that is going on
 * @next: the word to look at next
 * @end: after the last one
 * @low: the lowest address that is looked for
 * @size: how many bytes from there on are looked for
 */
struct stack_scan {
	const unsigned long *next;
	const unsigned long *end;
	unsigned long low;
	unsigned long size;
};

int stack_scan_start(struct stack_scan *scan, struct task_struct *task, unsigned long frame);
int stack_scan_next(struct stack_scan *scan, unsigned long *addr);

#endif /* _LINUX_STACK_SCAN_H */
