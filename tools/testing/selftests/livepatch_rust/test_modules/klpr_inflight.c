// SPDX-License-Identifier: GPL-2.0
/*
 * Functions to be patched, and tasks that are held on their way into them, or
 * while they exit.
 *
 * A task on its way: a callback of klpr_inflight_one(), registered before any
 * patch and thus called after the patch's handler, sees where the call will
 * continue. The task leaves the CPU at the end of ftrace's callbacks, where
 * these enable preemption, and does not run again before it is released: it has
 * used up its runtime by then. This needs no load on the CPU; the task is
 * runnable all the time, and does not sleep.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

#include "klpr_deadline.h"
#include "klpr_inflight.h"
#include "klpr_target.h"

#define KLPR_FUNC "klpr_inflight_one"

static DECLARE_WAIT_QUEUE_HEAD(klpr_wait);
static bool klpr_released;
static atomic_t klpr_blocked;

/* The task to be held, with a reference, and its progress. */
static struct task_struct *klpr_task;
static unsigned long klpr_chosen;
static bool klpr_arrived;
static int klpr_result;

/* A task that sleeps in klpr_inflight_sleep(), with a reference. */
static struct task_struct *klpr_sleeper;
static atomic_t klpr_sleepers;

/* Whether a task to be held waits in klpr_inflight_start() first. */
static bool wait;
module_param(wait, bool, 0644);

noinline int klpr_inflight_one(void)
{
	return klpr_number(1);
}

noinline int klpr_inflight_two(void)
{
	return klpr_number(2);
}

/* Sleeps until this module wakes it up. Replacements call it, too. */
noinline void klpr_inflight_wait(void)
{
	atomic_inc(&klpr_blocked);
	wait_event(klpr_wait, READ_ONCE(klpr_released));
	atomic_dec(&klpr_blocked);
}
EXPORT_SYMBOL_GPL(klpr_inflight_wait);

/* For a task that a transition has to wait for as usual. */
noinline void klpr_inflight_block(void)
{
	klpr_inflight_wait();
	/* No tail call, so that this function is on the stack. */
	barrier();
}

/* The same for a task that exits, which is found by this and not by its PID. */
noinline void klpr_inflight_sleep(void)
{
	/* After exit_notify() the last reference is the scheduler's. */
	WRITE_ONCE(klpr_sleeper, get_task_struct(current));
	atomic_inc(&klpr_sleepers);
	wait_event(klpr_wait, READ_ONCE(klpr_released));
	atomic_dec(&klpr_sleepers);
}
EXPORT_SYMBOL_GPL(klpr_inflight_sleep);

/*
 * Prepares the current task to be held. Preemption is disabled from here to the
 * end of ftrace's callbacks, so that it is not held elsewhere.
 */
noinline int klpr_inflight_start(void)
{
	int ret;

	wait_event(klpr_wait, !READ_ONCE(wait));
	ret = klpr_limit(200 * NSEC_PER_MSEC);
	if (!ret)
		preempt_disable_notrace();
	return ret;
}

static void notrace klpr_ftrace_func(unsigned long ip, unsigned long parent_ip,
				     struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	unsigned long end = jiffies + 10 * HZ;

	if (current != READ_ONCE(klpr_task) || klpr_arrived)
		return;
	WRITE_ONCE(klpr_chosen, ftrace_regs_get_instruction_pointer(fregs));
	/* The timer interrupt finds that the runtime is used up. */
	while (!(current->dl.dl_throttled && need_resched()) && time_before(jiffies, end))
		cpu_relax();
	WRITE_ONCE(klpr_arrived, true);
	/*
	 * Disabled by klpr_inflight_start(). If this is the only callback, the task
	 * is preempted here, and otherwise where the caller enables preemption.
	 */
	preempt_enable_notrace();
}

static struct ftrace_ops klpr_ops = { .func = klpr_ftrace_func };

/* Holds the current task; returns the result of the function it got to. */
static noinline int klpr_inflight_call(void)
{
	int ret;

	if (klpr_task)
		put_task_struct(klpr_task);
	klpr_chosen = 0;
	klpr_arrived = false;
	klpr_result = 0;
	WRITE_ONCE(klpr_task, get_task_struct(current));
	ret = klpr_inflight_start();
	if (ret)
		return ret;
	ret = klpr_inflight_one();
	if (!klpr_arrived) {
		/* The callback was not called. */
		klpr_arrived = true;
		preempt_enable_notrace();
		ret = -ENOENT;
	}
	WRITE_ONCE(klpr_result, ret);
	return ret;
}

/* No parameter: reading one holds a lock that readers of others need. */
static ssize_t klpr_hold_show(const struct module_attribute *attr, struct module_kobject *mk,
			      char *buf)
{
	return sysfs_emit(buf, "%d\n", klpr_inflight_call());
}

static ssize_t klpr_block_show(const struct module_attribute *attr, struct module_kobject *mk,
			       char *buf)
{
	klpr_inflight_block();
	return sysfs_emit(buf, "released\n");
}

static struct module_attribute klpr_hold_attr = __ATTR(hold, 0400, klpr_hold_show, NULL);
static struct module_attribute klpr_block_attr = __ATTR(block, 0400, klpr_block_show, NULL);
static const struct attribute *klpr_attrs[] = {
	&klpr_hold_attr.attr,
	&klpr_block_attr.attr,
	NULL
};

/* Whether the task is held where it should be: it has chosen, and cannot run. */
static int klpr_is_held(void)
{
	struct task_struct *task = READ_ONCE(klpr_task);

	return task && READ_ONCE(klpr_arrived) && !READ_ONCE(klpr_result) &&
	       klpr_is_out(task);
}

/* The sleeper's patch_state. /proc does not know a task that has been reaped. */
static int klpr_sleeper_state(void)
{
	struct task_struct *task = READ_ONCE(klpr_sleeper);

	return task ? READ_ONCE(task->patch_state) : -EINVAL;
}

/* Whether the sleeper is not on the task list any more. */
static int klpr_sleeper_reaped(void)
{
	struct task_struct *task = READ_ONCE(klpr_sleeper);

	return task && !pid_alive(task);
}

static int klpr_pid(void)
{
	struct task_struct *task = READ_ONCE(klpr_task);

	return task ? task_pid_nr(task) : 0;
}

#define KLPR_SHOW(name, value)							\
	static int klpr_get_##name(char *buf, const struct kernel_param *kp)	\
	{									\
		return sysfs_emit(buf, "%d\n", value);				\
	}									\
	static const struct kernel_param_ops klpr_##name##_ops = {		\
		.get = klpr_get_##name,						\
	};									\
	module_param_cb(name, &klpr_##name##_ops, NULL, 0444)

KLPR_SHOW(one, klpr_inflight_one());
KLPR_SHOW(two, klpr_inflight_two());
KLPR_SHOW(held, klpr_is_held());
KLPR_SHOW(pid, klpr_pid());
KLPR_SHOW(result, READ_ONCE(klpr_result));
KLPR_SHOW(blocked, atomic_read(&klpr_blocked));
KLPR_SHOW(sleepers, atomic_read(&klpr_sleepers));
KLPR_SHOW(sleeper_state, klpr_sleeper_state());
KLPR_SHOW(sleeper_reaped, klpr_sleeper_reaped());

/* The function in which the call will continue. */
static int klpr_get_chosen(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%ps\n", (void *)READ_ONCE(klpr_chosen));
}

static const struct kernel_param_ops klpr_chosen_ops = { .get = klpr_get_chosen };
module_param_cb(chosen, &klpr_chosen_ops, NULL, 0444);

static void klpr_let_go(void)
{
	if (klpr_task)
		klpr_unlimit(klpr_task);
	WRITE_ONCE(wait, false);
	WRITE_ONCE(klpr_released, true);
	wake_up_all(&klpr_wait);
}

/* Releases all tasks that are held or sleep; with 0, makes them sleep again. */
static int klpr_set_release(const char *val, const struct kernel_param *kp)
{
	bool released;
	int ret = kstrtobool(val, &released);

	if (ret)
		return ret;
	if (released)
		klpr_let_go();
	else
		WRITE_ONCE(klpr_released, false);
	return 0;
}

static const struct kernel_param_ops klpr_release_ops = { .set = klpr_set_release };
module_param_cb(release, &klpr_release_ops, NULL, 0200);

/* Lets a task that waits in klpr_inflight_start() continue, to be held. */
static int klpr_set_go(const char *val, const struct kernel_param *kp)
{
	WRITE_ONCE(wait, false);
	wake_up_all(&klpr_wait);
	return 0;
}

static const struct kernel_param_ops klpr_go_ops = { .set = klpr_set_go };
module_param_cb(go, &klpr_go_ops, NULL, 0200);

static int klpr_hold_thread(void *data)
{
	klpr_inflight_call();
	module_put_and_kthread_exit(0);
}

static int klpr_exit_thread(void *data)
{
	module_put_and_kthread_exit(0);
}

/* Starts a kernel thread, to be held, or to exit. */
static int klpr_set_thread(const char *val, const struct kernel_param *kp)
{
	struct task_struct *thread;

	__module_get(THIS_MODULE);
	if (sysfs_streq(val, "hold"))
		thread = kthread_run(klpr_hold_thread, NULL, "klpr_hold");
	else if (sysfs_streq(val, "exit"))
		thread = kthread_run(klpr_exit_thread, NULL, "klpr_exit");
	else
		thread = ERR_PTR(-EINVAL);
	if (IS_ERR(thread))
		module_put(THIS_MODULE);
	return PTR_ERR_OR_ZERO(thread);
}

static const struct kernel_param_ops klpr_thread_ops = { .set = klpr_set_thread };
module_param_cb(thread, &klpr_thread_ops, NULL, 0200);

static int __init klpr_inflight_init(void)
{
	int ret = ftrace_set_filter(&klpr_ops, KLPR_FUNC, strlen(KLPR_FUNC), 1);

	if (!ret)
		ret = register_ftrace_function(&klpr_ops);
	if (ret)
		goto free_filter;
	ret = sysfs_create_files(&THIS_MODULE->mkobj.kobj, klpr_attrs);
	if (ret)
		goto unregister;
	return 0;

unregister:
	unregister_ftrace_function(&klpr_ops);
free_filter:
	ftrace_free_filter(&klpr_ops);
	return ret;
}

static void __exit klpr_inflight_exit(void)
{
	klpr_let_go();
	sysfs_remove_files(&THIS_MODULE->mkobj.kobj, klpr_attrs);
	unregister_ftrace_function(&klpr_ops);
	ftrace_free_filter(&klpr_ops);
	if (klpr_task)
		put_task_struct(klpr_task);
	if (klpr_sleeper)
		put_task_struct(klpr_sleeper);
}

module_init(klpr_inflight_init);
module_exit(klpr_inflight_exit);
MODULE_DESCRIPTION("Livepatch test: tasks on their way into functions, or exiting");
MODULE_LICENSE("GPL");
