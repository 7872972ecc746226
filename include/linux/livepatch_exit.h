/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tasks that are exiting, and may not be on the task list any more.
 *
 * From exit_notify() on a task can be reaped, by itself or by its parent, and
 * vanish from the task list while it still runs, and sleeps, in functions that
 * can be patched. Such tasks are on a list of their own until the CPU has
 * switched away from them for the last time.
 */
#ifndef _LINUX_LIVEPATCH_EXIT_H
#define _LINUX_LIVEPATCH_EXIT_H

#include <linux/list.h>
#include <linux/sched.h>

#ifdef CONFIG_LIVEPATCH

void klp_exit_start(void);
void __klp_exit_finish(struct task_struct *task);

static inline void klp_exit_init(struct task_struct *task)
{
	INIT_LIST_HEAD(&task->klp_exit_node);
}

static inline void klp_exit_finish(struct task_struct *task)
{
	/* A task that died of a fault while it was exiting may not be on it. */
	if (!list_empty(&task->klp_exit_node))
		__klp_exit_finish(task);
}

typedef void (*klp_exiting_fn)(struct task_struct *task, void *arg);

void klp_visit_exiting(klp_exiting_fn func, void *arg);
unsigned int klp_nr_exiting(void);
struct task_struct *klp_get_exiting(void);

#else /* !CONFIG_LIVEPATCH */

static inline void klp_exit_init(struct task_struct *task) {}
static inline void klp_exit_start(void) {}
static inline void klp_exit_finish(struct task_struct *task) {}

#endif /* CONFIG_LIVEPATCH */
#endif /* _LINUX_LIVEPATCH_EXIT_H */
