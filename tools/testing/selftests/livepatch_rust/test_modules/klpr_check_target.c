// SPDX-License-Identifier: GPL-2.0
/*
 * The functions that klpr_check checks, and their callers: readers of a file,
 * and kernel threads. May be loaded and unloaded while they are patched.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/kstrtox.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "klpr_check.h"

noinline int klpr_check_outer(struct klpr_call *call)
{
	return klpr_run_outer(call, KLPR_ORIGINAL);
}
EXPORT_SYMBOL_GPL(klpr_check_outer);

noinline int klpr_check_inner(struct klpr_call *call)
{
	return klpr_run_inner(call, KLPR_ORIGINAL);
}

static ssize_t klpr_call_show(const struct module_attribute *attr, struct module_kobject *mk,
			      char *buf)
{
	int ret = klpr_check_call(klpr_check_outer, klpr_check_inner, false);

	return ret ? ret : sysfs_emit(buf, "called\n");
}

/* The same, but inner() sleeps until klpr_check's parameter "release" is written. */
static ssize_t klpr_hold_show(const struct module_attribute *attr, struct module_kobject *mk,
			      char *buf)
{
	int ret = klpr_check_call(klpr_check_outer, klpr_check_inner, true);

	return ret ? ret : sysfs_emit(buf, "called\n");
}

/* No parameter: reading one holds a lock that readers of others need. */
static const struct module_attribute klpr_call_attr = __ATTR(call, 0444, klpr_call_show, NULL);
static const struct module_attribute klpr_hold_attr = __ATTR(hold, 0444, klpr_hold_show, NULL);

static const struct attribute *klpr_attrs[] = {
	&klpr_call_attr.attr,
	&klpr_hold_attr.attr,
	NULL,
};

/* One in so many calls is held in ftrace's callbacks; 0: no callback. */
static unsigned int klpr_one_in;
static bool klpr_ready;

static void notrace klpr_stall(unsigned long ip, unsigned long parent_ip,
			       struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	klpr_check_stall(READ_ONCE(klpr_one_in));
}

static struct ftrace_ops klpr_stall_ops = { .func = klpr_stall };

static int klpr_set_stall(const char *val, const struct kernel_param *kp)
{
	unsigned int one_in;
	int ret = kstrtouint(val, 0, &one_in);

	if (ret)
		return ret;
	if (!klpr_ready)
		return -EBUSY;
	if (one_in && !klpr_one_in)
		ret = register_ftrace_function(&klpr_stall_ops);
	else if (!one_in && klpr_one_in)
		ret = unregister_ftrace_function(&klpr_stall_ops);
	if (!ret)
		WRITE_ONCE(klpr_one_in, one_in);
	return ret;
}

static int klpr_get_stall(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%u\n", klpr_one_in);
}

static const struct kernel_param_ops klpr_stall_param = {
	.set = klpr_set_stall,
	.get = klpr_get_stall,
};
module_param_cb(stall, &klpr_stall_param, NULL, 0644);

static struct task_struct *klpr_threads[2];

static int klpr_thread_fn(void *data)
{
	int i;

	set_user_nice(current, MAX_NICE);
	while (!kthread_should_stop()) {
		for (i = 0; i < 4; i++) {
			klpr_check_call(klpr_check_outer, klpr_check_inner, false);
			cond_resched();
		}
		schedule_timeout_interruptible(1);
	}
	return 0;
}

static void klpr_stop(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(klpr_threads); i++)
		if (!IS_ERR_OR_NULL(klpr_threads[i]))
			kthread_stop(klpr_threads[i]);
	/* Waits for the readers. */
	sysfs_remove_files(&THIS_MODULE->mkobj.kobj, klpr_attrs);
	if (klpr_one_in)
		unregister_ftrace_function(&klpr_stall_ops);
	ftrace_free_filter(&klpr_stall_ops);
}

static int __init klpr_check_target_init(void)
{
	char outer[] = "klpr_check_outer", inner[] = "klpr_check_inner";
	int ret, i;

	ret = sysfs_create_files(&THIS_MODULE->mkobj.kobj, klpr_attrs);
	if (ret)
		return ret;
	ret = ftrace_set_filter(&klpr_stall_ops, outer, strlen(outer), 1);
	if (!ret)
		ret = ftrace_set_filter(&klpr_stall_ops, inner, strlen(inner), 0);
	for (i = 0; i < ARRAY_SIZE(klpr_threads) && !ret; i++) {
		klpr_threads[i] = kthread_run(klpr_thread_fn, NULL, "klpr_check/%d", i);
		ret = PTR_ERR_OR_ZERO(klpr_threads[i]);
	}
	if (ret)
		klpr_stop();
	else
		klpr_ready = true;
	return ret;
}

static void __exit klpr_check_target_exit(void)
{
	klpr_stop();
}

module_init(klpr_check_target_init);
module_exit(klpr_check_target_exit);
MODULE_DESCRIPTION("Livepatch test: functions for the checker of the consistency model");
MODULE_LICENSE("GPL");
