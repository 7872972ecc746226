// SPDX-License-Identifier: GPL-2.0
/*
 * A module to be patched. Reading a parameter calls a function that patches
 * replace, so that a test sees which one runs.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/error-injection.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "klpr_target.h"

static DECLARE_WAIT_QUEUE_HEAD(klpr_wait);
static bool klpr_released;
static atomic_t klpr_sleepers;

/* The functions to be replaced. Each returns a number that tells it apart. */
noinline int klpr_target_one(void)
{
	return klpr_number(1);
}
ALLOW_ERROR_INJECTION(klpr_target_one, ERRNO);

noinline int klpr_target_two(void)
{
	return klpr_number(2);
}

/* There is another of this name in klpr_target_dup.c. */
static noinline int klpr_target_dup(void)
{
	return klpr_number(3);
}

/* ftrace cannot hook this one. */
noinline notrace int klpr_target_notrace(void)
{
	return klpr_number(4);
}

/* Has arguments in all registers for them, and on the stack. */
noinline long klpr_target_many(int a, int b, int c, int d, int e, int f, int g, int h, long i,
			       int j)
{
	return klpr_number(a) + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i +
	       10 * j;
}

noinline long klpr_target_sum(const struct klpr_numbers *numbers)
{
	long sum = numbers->first + numbers->rest[0] + numbers->rest[1];

	return numbers->sign == KLPR_MINUS ? -sum : sum;
}

static const struct klpr_numbers klpr_numbers = {
	.first = 1,
	.sign = KLPR_MINUS,
	.rest = { 20, 300 },
};

/* Sleeps until it is released, or a signal comes. */
noinline int klpr_target_sleep(void)
{
	int ret;

	atomic_inc(&klpr_sleepers);
	ret = wait_event_interruptible(klpr_wait, READ_ONCE(klpr_released));
	atomic_dec(&klpr_sleepers);
	return ret;
}

/* The same, but no signal wakes it. */
noinline int klpr_target_sleep_hard(void)
{
	atomic_inc(&klpr_sleepers);
	wait_event(klpr_wait, READ_ONCE(klpr_released));
	atomic_dec(&klpr_sleepers);
	return 0;
}

#define KLPR_SHOW(name, call)							\
	static int klpr_get_##name(char *buf, const struct kernel_param *kp)	\
	{									\
		return sysfs_emit(buf, "%d\n", call);				\
	}									\
	static const struct kernel_param_ops klpr_##name##_ops = {		\
		.get = klpr_get_##name,						\
	};									\
	module_param_cb(name, &klpr_##name##_ops, NULL, 0444)

KLPR_SHOW(one, klpr_target_one());
KLPR_SHOW(two, klpr_target_two());
KLPR_SHOW(dup, klpr_target_dup());
KLPR_SHOW(dup2, klpr_target_other_dup());
KLPR_SHOW(many, (int)klpr_target_many(1, -2, 3, -4, 5, -6, 7, -8, 9, -10));
KLPR_SHOW(sum, (int)klpr_target_sum(&klpr_numbers));
KLPR_SHOW(sleepers, atomic_read(&klpr_sleepers));

/* No parameter: reading one holds a lock that readers of others need. */
static ssize_t klpr_sleep_show(const struct module_attribute *attr, struct module_kobject *mk,
			       char *buf)
{
	int ret = klpr_target_sleep();

	return ret ? ret : sysfs_emit(buf, "released\n");
}

static ssize_t klpr_sleep_hard_show(const struct module_attribute *attr,
				    struct module_kobject *mk, char *buf)
{
	klpr_target_sleep_hard();
	return sysfs_emit(buf, "released\n");
}

static struct module_attribute klpr_sleep_attr = __ATTR(sleep, 0444, klpr_sleep_show, NULL);
static struct module_attribute klpr_sleep_hard_attr =
	__ATTR(sleep_hard, 0444, klpr_sleep_hard_show, NULL);
static const struct attribute *klpr_attrs[] = {
	&klpr_sleep_attr.attr,
	&klpr_sleep_hard_attr.attr,
	NULL
};

static int klpr_set_release(const char *val, const struct kernel_param *kp)
{
	bool released;
	int ret = kstrtobool(val, &released);

	if (ret)
		return ret;
	WRITE_ONCE(klpr_released, released);
	if (released)
		wake_up_all(&klpr_wait);
	return 0;
}

static const struct kernel_param_ops klpr_release_ops = { .set = klpr_set_release };
module_param_cb(release, &klpr_release_ops, NULL, 0200);

/* A kernel thread: in a function of the patch, or spins or yields elsewhere. */
static char *thread = "";
module_param(thread, charp, 0444);
static struct task_struct *klpr_thread;

static noinline void klpr_spin(void)
{
	while (!kthread_should_stop() && !READ_ONCE(klpr_released))
		cpu_relax();
}

static noinline void klpr_yield(void)
{
	while (!kthread_should_stop() && !READ_ONCE(klpr_released))
		schedule();
}

static int klpr_thread_fn(void *data)
{
	if (!strcmp(thread, "yield"))
		klpr_yield();
	if (!strcmp(thread, "spin") || !strcmp(thread, "spin_freezable"))
		klpr_spin();
	if (!strcmp(thread, "spin_freezable")) {
		/* Where the scheduler may switch it. */
		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		if (!kthread_should_stop())
			schedule_timeout(HZ);
		__set_current_state(TASK_RUNNING);
	}
	while (!kthread_should_stop()) {
		klpr_target_one();
		schedule_timeout_interruptible(1);
	}
	return 0;
}

static int __init klpr_target_init(void)
{
	int ret = sysfs_create_files(&THIS_MODULE->mkobj.kobj, klpr_attrs);

	if (ret)
		return ret;
	if (*thread) {
		klpr_thread = kthread_run(klpr_thread_fn, NULL, "klpr_thread");
		if (IS_ERR(klpr_thread)) {
			sysfs_remove_files(&THIS_MODULE->mkobj.kobj, klpr_attrs);
			return PTR_ERR(klpr_thread);
		}
	}
	return 0;
}

static void __exit klpr_target_exit(void)
{
	if (klpr_thread)
		kthread_stop(klpr_thread);
	WRITE_ONCE(klpr_released, true);
	wake_up_all(&klpr_wait);
	sysfs_remove_files(&THIS_MODULE->mkobj.kobj, klpr_attrs);
}

module_init(klpr_target_init);
module_exit(klpr_target_exit);
MODULE_DESCRIPTION("Livepatch test: a module to be patched");
MODULE_LICENSE("GPL");
