/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The livepatch hooks of architectures that exit to user mode through
 * exit_to_user_mode_loop(), and on which a task in user mode passes through it
 * after a reschedule interrupt: all architectures that have livepatch.
 */
#ifndef _ASM_GENERIC_LIVEPATCH_HOOKS_H
#define _ASM_GENERIC_LIVEPATCH_HOOKS_H

/*
 * Marks @task, which may be any task on the task list or an idle task, and
 * makes it pass the exit to user mode soon.
 *
 * May be called with tasklist_lock held: it takes no lock, and sends an interrupt
 * only if the task runs on another CPU.
 */
static inline void klp_arch_set_pending(struct task_struct *task)
{
	set_tsk_thread_flag(task, TIF_PATCH_PENDING);
	klp_kick_user(task);
}

/* Called by exit_to_user_mode_loop(), with interrupts on, before signals. */
static __always_inline void klp_arch_exit_to_user(unsigned long ti_work)
{
	klp_exit_to_user(ti_work);
}

#endif /* _ASM_GENERIC_LIVEPATCH_HOOKS_H */
