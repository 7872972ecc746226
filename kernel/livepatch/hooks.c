// SPDX-License-Identifier: GPL-2.0
/*
 * What the livepatch hooks rely on, on each architecture: the thread flags that
 * lead to klp_arch_exit_to_user() include TIF_PATCH_PENDING.
 */
#include <linux/build_bug.h>
#include <linux/irq-entry-common.h>
#include <linux/livepatch_hooks.h>

static_assert(BIT(TIF_PATCH_PENDING) == _TIF_PATCH_PENDING &&
	      (EXIT_TO_USER_MODE_WORK_SYSCALL & _TIF_PATCH_PENDING) &&
	      (EXIT_TO_USER_MODE_WORK_IRQ & _TIF_PATCH_PENDING));
