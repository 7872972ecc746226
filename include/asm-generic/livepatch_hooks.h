/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The livepatch hooks of architectures that have none of their own. All that have
 * livepatch go to user mode by exit_to_user_mode_loop(), and a reschedule
 * interrupt has a running task come by there.
 */
#ifndef _ASM_GENERIC_LIVEPATCH_HOOKS_H
#define _ASM_GENERIC_LIVEPATCH_HOOKS_H

static inline void klp_arch_set_pending(struct task_struct *task)
{
	set_tsk_thread_flag(task, TIF_PATCH_PENDING);
	klp_kick_user(task);
}

static __always_inline void klp_arch_exit_to_user(unsigned long ti_work)
{
	klp_exit_to_user(ti_work);
}

#endif /* _ASM_GENERIC_LIVEPATCH_HOOKS_H */
