/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Scanning the stack of a task that does not run for addresses of code.
 *
 * A task that does not run has its registers on its stack. So if no word there
 * is an address in a piece of code, the task is not in it, and does not return
 * to it. That holds without knowing where frames begin, also for a task that
 * was preempted by an interrupt. It costs a fraction of unwinding the stack.
 *
 * For the current task the same is true of its callers, from a given frame on.
 * Callee-saved registers of these callers may be anywhere then, which does not
 * matter: no return address is only there.
 *
 * If a word is such an address, nothing follows: it may be left over from an
 * earlier call. The reliable unwinder, say, has to decide then.
 *
 * The same goes for what the words cannot show:
 *
 * - Return addresses that are kept elsewhere. Tracers of function returns
 *   replace the return address on the stack by their own: the function graph
 *   tracer, and with it fprobes, and rethooks, and with them kretprobes.
 *   stack_scan_start() returns an error for such a task.
 * - Generated code that continues elsewhere by an instruction that contains the
 *   destination: the slots of kprobes, optimized ones in particular, go back to
 *   the probed function; BPF trampolines call the function that they are
 *   attached to. A task in there has an address of that code on its stack,
 *   which is neither in the kernel's text nor in a module. stack_scan_next()
 *   stops there.
 *
 * Compiled code is covered: wherever it goes, other than from one function to
 * the beginning of another one, it goes by a return address. There is one
 * exception, for a caller that searches for a function: a part of the function
 * that the compiler has put elsewhere goes back to it by a jump. The caller has
 * to search for such parts, too.
 *
 * A pointer to the beginning of a function, to be called, may or may not be
 * found.
 */
#ifndef _LINUX_STACK_SCAN_H
#define _LINUX_STACK_SCAN_H

#include <linux/types.h>

struct task_struct;

/**
 * struct stack_scan - a scan of a stack
 * @next: the next word to read
 * @end: after the last word
 * @low: the lowest address to search for
 * @size: how many bytes from there on to search for
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
