// SPDX-License-Identifier: GPL-2.0
/*
 * The list of exiting tasks, which may be missing from the task list, see
 * include/linux/livepatch_exit.h.
 *
 * A task is added before exit_notify() allows it to be taken off the task list,
 * and removed when its last context switch is over. So a walk over the task
 * list first and this list second finds each task that has ever been on the
 * task list, until it cannot run any more.
 */

#include <linux/cleanup.h>
#include <linux/list.h>
#include <linux/livepatch_exit.h>
#include <linux/sched/task.h>
#include <linux/spinlock.h>

/*
 * A raw spinlock, as the scheduler takes it. One global lock is enough: each
 * exit takes tasklist_lock for writing as well, and for longer.
 */
static DEFINE_RAW_SPINLOCK(klp_exit_lock);
static LIST_HEAD(klp_exit_list);
static unsigned int klp_exit_count;

/**
 * klp_exit_start() - put the current task on the list of exiting tasks
 *
 * To be called by do_exit(), before exit_notify().
 */
void klp_exit_start(void)
{
	guard(raw_spinlock_irqsave)(&klp_exit_lock);
	list_add_tail(&current->klp_exit_node, &klp_exit_list);
	klp_exit_count++;
}

/**
 * __klp_exit_finish() - take a task off the list of exiting tasks
 * @task: a task that is on it and will never run again; its stack still exists
 *
 * To be called by the scheduler after it has switched away from @task.
 */
void __klp_exit_finish(struct task_struct *task)
{
	guard(raw_spinlock_irqsave)(&klp_exit_lock);
	list_del_init(&task->klp_exit_node);
	klp_exit_count--;
}

/**
 * klp_visit_exiting() - call a function for each exiting task
 * @func: called with interrupts off and a raw spinlock held; short
 * @arg: its second argument
 */
void klp_visit_exiting(klp_exiting_fn func, void *arg)
{
	struct task_struct *task;

	guard(raw_spinlock_irqsave)(&klp_exit_lock);
	list_for_each_entry(task, &klp_exit_list, klp_exit_node)
		func(task, arg);
}

/**
 * klp_nr_exiting() - return how many tasks are exiting
 */
unsigned int klp_nr_exiting(void)
{
	guard(raw_spinlock_irqsave)(&klp_exit_lock);
	return klp_exit_count;
}

/**
 * klp_get_exiting() - take the next exiting task, and a reference to it
 *
 * Tasks are taken in turn: if there is one caller at a time, and it calls this
 * as often as klp_nr_exiting() returned, it gets each task that was on the list
 * then and has not died since.
 *
 * Returns: a task, to be given back with put_task_struct(), or NULL.
 */
struct task_struct *klp_get_exiting(void)
{
	struct task_struct *task;

	guard(raw_spinlock_irqsave)(&klp_exit_lock);
	task = list_first_entry_or_null(&klp_exit_list, struct task_struct, klp_exit_node);
	if (!task)
		return NULL;
	list_move_tail(&task->klp_exit_node, &klp_exit_list);
	/* The scheduler drops the last reference after __klp_exit_finish(). */
	return get_task_struct(task);
}
