/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM livepatch

#if !defined(_TRACE_LIVEPATCH_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_LIVEPATCH_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

#ifndef _TRACE_LIVEPATCH_WAYS
#define _TRACE_LIVEPATCH_WAYS
/* How a task came to switch. */
enum klp_switch_way {
	KLP_WAY_EXIT_TO_USER,	/* by itself, on its way to user mode */
	KLP_WAY_STACK_SCAN,	/* it did not run, or was the checker; its stack had no address */
	KLP_WAY_STACK_CHECK,	/* the same; its stack trace allowed it */
	KLP_WAY_SCHEDULER,	/* by itself, in the scheduler */
	KLP_WAY_IDLE,		/* in the idle loop, or its CPU was offline */
	KLP_WAY_FORK,		/* it was made by a task that had switched */
	KLP_WAY_FORCED,		/* the administrator had all tasks switch */
};
#endif

TRACE_DEFINE_ENUM(KLP_WAY_EXIT_TO_USER);
TRACE_DEFINE_ENUM(KLP_WAY_STACK_SCAN);
TRACE_DEFINE_ENUM(KLP_WAY_STACK_CHECK);
TRACE_DEFINE_ENUM(KLP_WAY_SCHEDULER);
TRACE_DEFINE_ENUM(KLP_WAY_IDLE);
TRACE_DEFINE_ENUM(KLP_WAY_FORK);
TRACE_DEFINE_ENUM(KLP_WAY_FORCED);

/*
 * A task has switched to the state that the transition leads to. It may be
 * another one than the current task.
 */
TRACE_EVENT(klp_task_switch,
	TP_PROTO(struct task_struct *task, bool patched, unsigned int way),
	TP_ARGS(task, patched, way),
	TP_STRUCT__entry(
		__array(char, comm, TASK_COMM_LEN)
		__field(pid_t, pid)
		__field(bool, patched)
		__field(unsigned int, way)
	),
	TP_fast_assign(
		memcpy(__entry->comm, task->comm, TASK_COMM_LEN);
		__entry->pid = task->pid;
		__entry->patched = patched;
		__entry->way = way;
	),
	TP_printk("pid=%d comm=%s direction=%s way=%s",
		  __entry->pid, __entry->comm,
		  __entry->patched ? "patched" : "unpatched",
		  __print_symbolic(__entry->way,
				   { KLP_WAY_EXIT_TO_USER, "exit_to_user" },
				   { KLP_WAY_STACK_SCAN, "stack_scan" },
				   { KLP_WAY_STACK_CHECK, "stack_check" },
				   { KLP_WAY_SCHEDULER, "scheduler" },
				   { KLP_WAY_IDLE, "idle" },
				   { KLP_WAY_FORK, "fork" },
				   { KLP_WAY_FORCED, "forced" }))
);

#endif /* _TRACE_LIVEPATCH_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
