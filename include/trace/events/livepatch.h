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
	KLP_SWITCH_EXIT_TO_USER,	/* it was at the exit to user mode */
	KLP_SWITCH_STACK_SCAN,		/* it did not run; its stack had no address concerned */
	KLP_SWITCH_STACK_CHECK,		/* it did not run; its stack trace allowed it */
	KLP_SWITCH_SCHEDULER,		/* it was in the scheduler, and its stack allowed it */
	KLP_SWITCH_IDLE,		/* it was in the idle loop, or its CPU was offline */
	KLP_SWITCH_FORK,		/* its parent had switched when it was forked */
	KLP_SWITCH_FORCED,		/* the administrator has forced all tasks */
	KLP_SWITCH_REASONS		/* how many there are */
};

/* Why a task could not be switched. */
enum klp_obstacle {
	KLP_OBSTACLE_RUNNING,		/* it runs */
	KLP_OBSTACLE_FUNCTION,		/* it is in a function concerned */
	KLP_OBSTACLE_FTRACE,		/* it is on its way into one, or back, by ftrace */
	KLP_OBSTACLE_MODULE,		/* it is in the module of a patch that tasks leave */
	KLP_OBSTACLE_UNRELIABLE_STACK,	/* its stack cannot be relied on */
};
#endif

TRACE_DEFINE_ENUM(KLP_SWITCH_EXIT_TO_USER);
TRACE_DEFINE_ENUM(KLP_SWITCH_STACK_SCAN);
TRACE_DEFINE_ENUM(KLP_SWITCH_STACK_CHECK);
TRACE_DEFINE_ENUM(KLP_SWITCH_SCHEDULER);
TRACE_DEFINE_ENUM(KLP_SWITCH_IDLE);
TRACE_DEFINE_ENUM(KLP_SWITCH_FORK);
TRACE_DEFINE_ENUM(KLP_SWITCH_FORCED);
TRACE_DEFINE_ENUM(KLP_SWITCH_REASONS);
TRACE_DEFINE_ENUM(KLP_OBSTACLE_RUNNING);
TRACE_DEFINE_ENUM(KLP_OBSTACLE_FUNCTION);
TRACE_DEFINE_ENUM(KLP_OBSTACLE_FTRACE);
TRACE_DEFINE_ENUM(KLP_OBSTACLE_MODULE);
TRACE_DEFINE_ENUM(KLP_OBSTACLE_UNRELIABLE_STACK);

#define klp_direction(patched) ((patched) ? "patched" : "unpatched")

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
		  klp_direction(__entry->patched),
		  __print_symbolic(__entry->reason,
				   { KLP_SWITCH_EXIT_TO_USER, "exit_to_user" },
				   { KLP_SWITCH_STACK_SCAN, "stack_scan" },
				   { KLP_SWITCH_STACK_CHECK, "stack_check" },
				   { KLP_SWITCH_SCHEDULER, "scheduler" },
				   { KLP_SWITCH_IDLE, "idle" },
				   { KLP_SWITCH_FORK, "fork" },
				   { KLP_SWITCH_FORCED, "forced" }))
);

/*
 * An attempt could not switch a task. @name is that of the function, or of the
 * patch whose module it is, or empty.
 */
TRACE_EVENT(klp_task_blocked,
	TP_PROTO(struct task_struct *task, bool patched, unsigned int obstacle, const char *name),
	TP_ARGS(task, patched, obstacle, name),
	TP_STRUCT__entry(
		__array(char, comm, TASK_COMM_LEN)
		__field(pid_t, pid)
		__field(bool, patched)
		__field(unsigned int, obstacle)
		__string(name, name)
	),
	TP_fast_assign(
		memcpy(__entry->comm, task->comm, TASK_COMM_LEN);
		__entry->pid = task->pid;
		__entry->patched = patched;
		__entry->obstacle = obstacle;
		__assign_str(name);
	),
	TP_printk("pid=%d comm=%s direction=%s obstacle=%s name=%s",
		  __entry->pid, __entry->comm,
		  klp_direction(__entry->patched),
		  __print_symbolic(__entry->obstacle,
				   { KLP_OBSTACLE_RUNNING, "running" },
				   { KLP_OBSTACLE_FUNCTION, "function" },
				   { KLP_OBSTACLE_FTRACE, "ftrace" },
				   { KLP_OBSTACLE_MODULE, "module" },
				   { KLP_OBSTACLE_UNRELIABLE_STACK, "unreliable_stack" }),
		  __get_str(name))
);

/* A step of the transition of a patch. */
DECLARE_EVENT_CLASS(klp_transition,
	TP_PROTO(const char *patch, bool patched, unsigned int tasks),
	TP_ARGS(patch, patched, tasks),
	TP_STRUCT__entry(
		__string(patch, patch)
		__field(bool, patched)
		__field(unsigned int, tasks)
	),
	TP_fast_assign(
		__assign_str(patch);
		__entry->patched = patched;
		__entry->tasks = tasks;
	),
	TP_printk("patch=%s direction=%s tasks=%u",
		  __get_str(patch), klp_direction(__entry->patched), __entry->tasks)
);

/* It starts; @tasks have to switch. */
DEFINE_EVENT(klp_transition, klp_transition_start,
	TP_PROTO(const char *patch, bool patched, unsigned int tasks),
	TP_ARGS(patch, patched, tasks)
);

/* It is reversed: the direction is the new one. @tasks have to go back. */
DEFINE_EVENT(klp_transition, klp_transition_reverse,
	TP_PROTO(const char *patch, bool patched, unsigned int tasks),
	TP_ARGS(patch, patched, tasks)
);

/* Fake signals were sent to @tasks, which have yet to switch. */
DEFINE_EVENT(klp_transition, klp_transition_signal,
	TP_PROTO(const char *patch, bool patched, unsigned int tasks),
	TP_ARGS(patch, patched, tasks)
);

/* The administrator has forced @tasks. */
DEFINE_EVENT(klp_transition, klp_transition_force,
	TP_PROTO(const char *patch, bool patched, unsigned int tasks),
	TP_ARGS(patch, patched, tasks)
);

/*
 * It is complete. @switched is how many tasks have switched, by reason; tasks
 * that have exited before are in none of them.
 */
TRACE_EVENT(klp_transition_complete,
	TP_PROTO(const char *patch, bool patched, u64 duration_us, unsigned int attempts,
		 const u32 *switched),
	TP_ARGS(patch, patched, duration_us, attempts, switched),
	TP_STRUCT__entry(
		__string(patch, patch)
		__field(bool, patched)
		__field(u64, duration_us)
		__field(unsigned int, attempts)
		__array(u32, switched, KLP_SWITCH_REASONS)
	),
	TP_fast_assign(
		__assign_str(patch);
		__entry->patched = patched;
		__entry->duration_us = duration_us;
		__entry->attempts = attempts;
		memcpy(__entry->switched, switched, sizeof(__entry->switched));
	),
	TP_printk("patch=%s direction=%s duration_us=%llu attempts=%u exit_to_user=%u stack_scan=%u stack_check=%u scheduler=%u idle=%u fork=%u forced=%u",
		  __get_str(patch), klp_direction(__entry->patched),
		  __entry->duration_us, __entry->attempts,
		  __entry->switched[KLP_SWITCH_EXIT_TO_USER],
		  __entry->switched[KLP_SWITCH_STACK_SCAN],
		  __entry->switched[KLP_SWITCH_STACK_CHECK],
		  __entry->switched[KLP_SWITCH_SCHEDULER],
		  __entry->switched[KLP_SWITCH_IDLE],
		  __entry->switched[KLP_SWITCH_FORK],
		  __entry->switched[KLP_SWITCH_FORCED])
);

/* What becomes of a patch. */
DECLARE_EVENT_CLASS(klp_patch,
	TP_PROTO(const char *patch),
	TP_ARGS(patch),
	TP_STRUCT__entry(
		__string(patch, patch)
	),
	TP_fast_assign(
		__assign_str(patch);
	),
	TP_printk("patch=%s", __get_str(patch))
);

/* All tasks use it, unless it was forced on. */
DEFINE_EVENT(klp_patch, klp_patch_enabled,
	TP_PROTO(const char *patch),
	TP_ARGS(patch)
);

/* No task uses it any more, unless it was forced off: it was disabled. */
DEFINE_EVENT(klp_patch, klp_patch_disabled,
	TP_PROTO(const char *patch),
	TP_ARGS(patch)
);

/* The same: another patch has replaced it. */
DEFINE_EVENT(klp_patch, klp_patch_replaced,
	TP_PROTO(const char *patch),
	TP_ARGS(patch)
);

/* It is about to give up its module, unless tasks were forced to leave it. */
DEFINE_EVENT(klp_patch, klp_patch_freed,
	TP_PROTO(const char *patch),
	TP_ARGS(patch)
);

/* The functions of a patch in vmlinux or in a module. */
DECLARE_EVENT_CLASS(klp_object,
	TP_PROTO(const char *patch, const char *object),
	TP_ARGS(patch, object),
	TP_STRUCT__entry(
		__string(patch, patch)
		__string(object, object)
	),
	TP_fast_assign(
		__assign_str(patch);
		__assign_str(object);
	),
	TP_printk("patch=%s object=%s", __get_str(patch), __get_str(object))
);

/* They are redirected. Which tasks use them is up to the transition. */
DEFINE_EVENT(klp_object, klp_object_patched,
	TP_PROTO(const char *patch, const char *object),
	TP_ARGS(patch, object)
);

/* They are not redirected any more. */
DEFINE_EVENT(klp_object, klp_object_unpatched,
	TP_PROTO(const char *patch, const char *object),
	TP_ARGS(patch, object)
);

#endif /* _TRACE_LIVEPATCH_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
