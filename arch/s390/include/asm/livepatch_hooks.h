/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Livepatch: setting TIF_PATCH_PENDING, and looking at it on the way to user
 * mode. arch/s390/kernel/livepatch.c says what the core relies on.
 */
#ifndef _ASM_S390_LIVEPATCH_HOOKS_H
#define _ASM_S390_LIVEPATCH_HOOKS_H

void klp_arch_set_pending(struct task_struct *task);

/* From exit_to_user_mode_loop(): interrupts are on, signals come after it. */
static __always_inline void klp_arch_exit_to_user(unsigned long ti_work)
{
	klp_exit_to_user(ti_work);
}

#endif /* _ASM_S390_LIVEPATCH_HOOKS_H */
