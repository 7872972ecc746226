/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hooks of livepatch in the exit to user mode.
 *
 * A task that has yet to switch has TIF_PATCH_PENDING set. When it exits to user
 * mode it is in no function of the kernel any more, and switches itself.
 *
 *  klp_arch_set_pending(task)      sets the flag, and makes a task that runs in
 *                                  user mode on another CPU pass the exit soon;
 *  klp_arch_exit_to_user(ti_work)  tests the flag on the exit to user mode.
 *
 * An architecture that has to do this differently from asm-generic has its own
 * <asm/livepatch_hooks.h>. kernel/livepatch/hooks.c checks at compile time that
 * the flag is tested.
 */
#ifndef _LINUX_LIVEPATCH_HOOKS_H
#define _LINUX_LIVEPATCH_HOOKS_H

#ifdef CONFIG_LIVEPATCH

#include <linux/errno.h>
#include <linux/jump_label.h>
#include <linux/livepatch.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/thread_info.h>

#ifdef CONFIG_LIVEPATCH_TEST_EXIT_HOOK
DECLARE_STATIC_KEY_FALSE(klp_test_skip_exit_hook);

static __always_inline bool klp_test_skip_exit(void)
{
	return static_branch_unlikely(&klp_test_skip_exit_hook);
}

extern bool klp_test_skip_hook_ranges;

static inline bool klp_test_skip_hooks(void)
{
	return READ_ONCE(klp_test_skip_hook_ranges);
}

extern bool klp_test_skip_hidden_returns, klp_test_skip_generated_code;

static inline bool klp_test_skip_scan_rule(int error)
{
	return (error == -ENODATA && READ_ONCE(klp_test_skip_hidden_returns)) ||
	       (error == -EINVAL && READ_ONCE(klp_test_skip_generated_code));
}
#else
static __always_inline bool klp_test_skip_exit(void)
{
	return false;
}

static inline bool klp_test_skip_hooks(void)
{
	return false;
}

static inline bool klp_test_skip_scan_rule(int error)
{
	return false;
}
#endif

/*
 * The common part of the architectures' hooks.
 *
 * For a test that leaves the hook out, this clears the flag and does nothing
 * else. If the flag stayed set, the task would never get to user mode.
 */
static __always_inline void klp_exit_to_user(unsigned long ti_work)
{
	if (!(ti_work & _TIF_PATCH_PENDING))
		return;
	if (klp_test_skip_exit())
		clear_thread_flag(TIF_PATCH_PENDING);
	else
		klp_update_patch_state(current);
}

/*
 * Whether @cpu must not be disturbed: it is in no scheduling domain, or the
 * kernel must make no noise on it (nohz_full=).
 */
static inline bool klp_cpu_is_isolated(int cpu)
{
	return cpu_is_isolated(cpu) || !housekeeping_cpu(cpu, HK_TYPE_KERNEL_NOISE);
}

/*
 * Makes a task that has just been marked pass the exit to user mode soon, if it
 * runs on another CPU.
 *
 * The CPU gets a reschedule interrupt, which reschedules nothing unless that is
 * due. Isolated CPUs are left alone: what runs there must not be disturbed.
 * Their tasks switch when they enter the kernel for another reason, or by the
 * fake signal that ends long transitions.
 *
 * Idle tasks never exit to user mode. They are woken later, and only if their
 * stack could not be checked. Kernel threads and io_uring workers, which always
 * stay in the kernel, and exiting tasks never exit to user mode either.
 */
static inline void klp_kick_user(struct task_struct *task)
{
	if (task->flags & (PF_KTHREAD | PF_USER_WORKER | PF_EXITING))
		return;
	if (klp_cpu_is_isolated(task_cpu(task)))
		return;
	/*
	 * Orders the flag before the check whether the task runs. Pairs with
	 * the full barrier in __schedule() that comes after rq->curr was
	 * written and before the new task gets to user mode. So either the
	 * task is seen to run here, and is interrupted, or it sees the flag.
	 */
	smp_mb__after_atomic();
	kick_process(task);
}

#include <asm/livepatch_hooks.h>

#else /* !CONFIG_LIVEPATCH */

static __always_inline void klp_arch_exit_to_user(unsigned long ti_work) {}

#endif /* CONFIG_LIVEPATCH */
#endif /* _LINUX_LIVEPATCH_HOOKS_H */
