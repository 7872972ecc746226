/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The livepatch hooks of architectures that exit to user mode through
 * exit_to_user_mode_loop(), and where a task that a reschedule interrupt finds in
 * user mode passes it: all that have livepatch.
 */
#ifndef _ASM_GENERIC_LIVEPATCH_HOOKS_H
#define _ASM_GENERIC_LIVEPATCH_HOOKS_H

/*
 * Marks @task, any of those on the task list or an idle one, and makes it pass the
 * exit to user mode soon.
 *
 * May be called with tasklist_lock held: it takes no lock, and sends an interrupt
 * only if the task runs on another CPU.
 */
static inline void klp_arch_set_pending(struct task_struct *task)
{
	set_tsk_thread_flag(task, TIF_PATCH_PENDING);
	klp_kick_user(task);
}

/* From exit_to_user_mode_loop(): interrupts are on, signals come after it. */
static __always_inline void klp_arch_exit_to_user(unsigned long ti_work)
{
	klp_exit_to_user(ti_work);
}

#endif /* _ASM_GENERIC_LIVEPATCH_HOOKS_H */
