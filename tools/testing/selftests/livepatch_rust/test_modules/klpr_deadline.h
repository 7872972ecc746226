/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tasks that do not continue before they are released, and do not sleep: they
 * are in the deadline class, use up their runtime, and the next period is far
 * away. The kernel has to allow that; see long_periods in klpr.sh.
 */
#ifndef KLPR_DEADLINE_H
#define KLPR_DEADLINE_H

#include <linux/sched.h>
#include <linux/sched/deadline.h>
#include <linux/time64.h>
#include <uapi/linux/sched/types.h>

/* Lets the current task run for @runtime ns from here on. */
static inline int klpr_limit(u64 runtime)
{
	const struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = SCHED_DEADLINE,
		.sched_runtime = runtime,
		.sched_deadline = 900 * NSEC_PER_SEC,
		.sched_period = 900 * NSEC_PER_SEC,
	};

	return sched_setattr_nocheck(current, &attr);
}

/* Whether @task has used it up and was preempted. */
static inline bool klpr_is_out(struct task_struct *task)
{
	return READ_ONCE(task->policy) == SCHED_DEADLINE && task->dl.dl_throttled &&
	       READ_ONCE(task->on_rq) && !READ_ONCE(task->on_cpu);
}

/* Lets @task continue. */
static inline void klpr_unlimit(struct task_struct *task)
{
	if (READ_ONCE(task->policy) == SCHED_DEADLINE)
		sched_set_normal(task, 0);
}

#endif /* KLPR_DEADLINE_H */
