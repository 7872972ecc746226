// SPDX-License-Identifier: GPL-2.0
/*
 * Scanning the stack of a task that does not run for addresses of code.
 * include/linux/stack_scan.h describes what follows from the result.
 *
 * The scan reads the compiler's own marks on stacks, and other tasks' frames:
 * the Makefile keeps KASAN, KMSAN, KCSAN and KCOV out of here. It also keeps
 * the function tracer out, which would make the current task a traced one.
 */

#include <linux/align.h>
#include <linux/errno.h>
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/processor.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/stack_scan.h>

#include <asm/stack_scan.h>

/* Whether a tracer keeps return addresses of @task elsewhere. */
static bool has_hidden_returns(struct task_struct *task)
{
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	/*
	 * Becomes nonzero before the word on the stack is replaced. It is zero
	 * again a moment before the return; the address is in registers by
	 * then, or in a copy of them, and so on the stack once the task does
	 * not run.
	 */
	if (task->ret_stack && task->curr_ret_stack)
		return true;
#endif
#ifdef CONFIG_RETHOOK
	/*
	 * Here the word is replaced first, but with preemption disabled until
	 * both are done.
	 */
	if (!llist_empty(&task->rethooks))
		return true;
#elif defined(CONFIG_KRETPROBES)
	if (!llist_empty(&task->kretprobe_instances))
		return true;
#endif
	return false;
}

/**
 * stack_scan_start() - begin to scan the stack of a task
 * @scan: with @low and @size set
 * @task: the current task, or one that cannot run meanwhile; its stack must stay
 * @frame: for the current task, where on its stack to begin: the searched
 *	address is also on the stack below. Ignored for other tasks
 *
 * Context: any in which the caller can guarantee that; does not sleep.
 *
 * Returns: 0; -ENODATA if return addresses of the task are kept elsewhere; -EINVAL
 * if its stack pointer, or @frame, is not on its stack.
 */
int stack_scan_start(struct stack_scan *scan, struct task_struct *task, unsigned long frame)
{
	unsigned long stack = (unsigned long)task_stack_page(task);
	unsigned long first = task == current ? frame : arch_stack_pointer(task);
	/*
	 * Where the registers of user mode are, or the space for them. These
	 * show nothing about the kernel, and user space controls their values.
	 */
	unsigned long end = (unsigned long)task_pt_regs(task);

	if (has_hidden_returns(task))
		return -ENODATA;
	if (first < stack || first > end || end > stack + THREAD_SIZE ||
	    !IS_ALIGNED(first | end, sizeof(long)))
		return -EINVAL;
	scan->next = (const unsigned long *)first;
	scan->end = (const unsigned long *)end;
	return 0;
}

/**
 * stack_scan_next() - find the next word that is one of the searched addresses
 * @scan: a scan that stack_scan_start() has begun
 * @addr: where to store the word
 *
 * Context: as for stack_scan_start(), with preemption disabled and RCU watching.
 *
 * Returns: 1 if there is one; 0 at the end of the stack; -EINVAL for an address
 * in generated code, as it does not show where that code continues.
 */
int stack_scan_next(struct stack_scan *scan, unsigned long *addr)
{
	const unsigned long *next = scan->next, *end = scan->end;
	unsigned long word;

	while (next < end) {
		/* Most words are not addresses of code: skip them quickly. */
		if (end - next >= 4 &&
		    likely(!(arch_may_be_code(next[0]) || arch_may_be_code(next[1]) ||
			     arch_may_be_code(next[2]) || arch_may_be_code(next[3])))) {
			next += 4;
			continue;
		}
		word = *next++;
		if (!arch_may_be_code(word))
			continue;
		if (arch_may_be_generated(word) && !__module_address(word) &&
		    arch_is_generated(word))
			return -EINVAL;
		if (word - scan->low < scan->size) {
			scan->next = next;
			*addr = word;
			return 1;
		}
	}
	scan->next = end;
	return 0;
}
