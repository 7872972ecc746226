/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM livepatch

#if !defined(_TRACE_LIVEPATCH_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_LIVEPATCH_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

#ifndef _TRACE_LIVEPATCH_REASONS
#define _TRACE_LIVEPATCH_REASONS
/* Why a task could switch. */
enum klp_switch_reason {
	KLP_SWITCH_EXIT_TO_USER,	/* it was on its way to user mode */
	KLP_SWITCH_STACK_SCAN,		/* it did not run; its stack had no address concerned */
	KLP_SWITCH_STACK_CHECK,		/* it did not run; its stack trace allowed it */
	KLP_SWITCH_SCHEDULER,		/* it was in the scheduler, and its stack allowed it */
	KLP_SWITCH_IDLE,		/* it was in the idle loop, or its CPU was offline */
	KLP_SWITCH_FORK,		/* its parent had switched when it was forked */
	KLP_SWITCH_FORCED,		/* the administrator has forced all tasks */
};
#endif

TRACE_DEFINE_ENUM(KLP_SWITCH_EXIT_TO_USER);
TRACE_DEFINE_ENUM(KLP_SWITCH_STACK_SCAN);
TRACE_DEFINE_ENUM(KLP_SWITCH_STACK_CHECK);
TRACE_DEFINE_ENUM(KLP_SWITCH_SCHEDULER);
TRACE_DEFINE_ENUM(KLP_SWITCH_IDLE);
TRACE_DEFINE_ENUM(KLP_SWITCH_FORK);
TRACE_DEFINE_ENUM(KLP_SWITCH_FORCED);

/*
 * A task has switched to the state that the transition leads to. It may be
 * another one than the current task.
 */
TRACE_EVENT(klp_task_switch,
	TP_PROTO(struct task_struct *task, bool patched, unsigned int reason),
	TP_ARGS(task, patched, reason),
	TP_STRUCT__entry(
		__array(char, comm, TASK_COMM_LEN)
		__field(pid_t, pid)
		__field(bool, patched)
		__field(unsigned int, reason)
	),
	TP_fast_assign(
		memcpy(__entry->comm, task->comm, TASK_COMM_LEN);
		__entry->pid = task->pid;
		__entry->patched = patched;
		__entry->reason = reason;
	),
	TP_printk("pid=%d comm=%s direction=%s reason=%s",
		  __entry->pid, __entry->comm,
		  __entry->patched ? "patched" : "unpatched",
		  __print_symbolic(__entry->reason,
				   { KLP_SWITCH_EXIT_TO_USER, "exit_to_user" },
				   { KLP_SWITCH_STACK_SCAN, "stack_scan" },
				   { KLP_SWITCH_STACK_CHECK, "stack_check" },
				   { KLP_SWITCH_SCHEDULER, "scheduler" },
				   { KLP_SWITCH_IDLE, "idle" },
				   { KLP_SWITCH_FORK, "fork" },
				   { KLP_SWITCH_FORCED, "forced" }))
);

#endif /* _TRACE_LIVEPATCH_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
