// SPDX-License-Identifier: GPL-2.0
/*
 * A thread of a user process that never leaves the kernel, like those of
 * io_uring and vhost. It belongs to the process that writes to the parameter
 * start, until that process is killed.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

/* Not exported; addresses as /proc/kallsyms has them. */
static unsigned long create_io_thread_addr;
module_param_named(create_io_thread, create_io_thread_addr, ulong, 0);
static unsigned long wake_up_new_task_addr;
module_param_named(wake_up_new_task, wake_up_new_task_addr, ulong, 0);
static unsigned long do_exit_addr;
module_param_named(do_exit, do_exit_addr, ulong, 0);

static int pid;
module_param(pid, int, 0444);
MODULE_PARM_DESC(pid, "the id of the newest thread");

/* If the kernel never takes their address, these lack the hash of CFI. */
static int __nocfi klpr_work(void *unused)
{
	/* Does not return; objtool cannot know that of a pointer. */
	void (*exit)(long code) = (void *)do_exit_addr;

	while (!fatal_signal_pending(current))
		schedule();
	exit(0);
	return 0;
}

static int __nocfi klpr_start(const char *value, const struct kernel_param *kp)
{
	struct task_struct *(*create)(int (*fn)(void *), void *arg, int node) =
		(void *)create_io_thread_addr;
	void (*wake)(struct task_struct *task) = (void *)wake_up_new_task_addr;
	struct task_struct *task;

	task = create(klpr_work, NULL, NUMA_NO_NODE);
	if (IS_ERR(task))
		return PTR_ERR(task);
	pid = task_pid_nr(task);
	wake(task);
	return 0;
}

static const struct kernel_param_ops klpr_start_ops = {
	.set = klpr_start,
};
module_param_cb(start, &klpr_start_ops, NULL, 0200);

static int __init klpr_worker_init(void)
{
	if (!create_io_thread_addr || !wake_up_new_task_addr || !do_exit_addr) {
		pr_err("an address is missing\n");
		return -EINVAL;
	}
	return 0;
}

static void __exit klpr_worker_exit(void)
{
}

module_init(klpr_worker_init);
module_exit(klpr_worker_exit);
MODULE_DESCRIPTION("Livepatch test: a user process's thread that stays in the kernel");
MODULE_LICENSE("GPL");
