// SPDX-License-Identifier: GPL-2.0
/*
 * Livepatch on s390: no other flag shares the bit of TIF_PATCH_PENDING.
 * kernel/livepatch/hooks.c has the checks for all architectures;
 * Documentation/livepatch/rust-core-arch.rst describes what the livepatch core
 * relies on.
 */
#include <linux/build_bug.h>
#include <linux/irq-entry-common.h>
#include <linux/thread_info.h>

/* All other flags. */
#define KLP_OTHER_TIF_BITS						\
	(_TIF_NOTIFY_RESUME | _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL |	\
	 _TIF_MEMDIE | _TIF_NEED_RESCHED | _TIF_NEED_RESCHED_LAZY |	\
	 _TIF_POLLING_NRFLAG | _TIF_USER_RETURN_NOTIFY | _TIF_UPROBE |	\
	 _TIF_RESTORE_SIGMASK | _TIF_RSEQ | _TIF_HRTIMER_REARM |	\
	 _TIF_ASCE_PRIMARY | _TIF_GUARDED_STORAGE |			\
	 _TIF_ISOLATE_BP_GUEST | _TIF_PER_TRAP | _TIF_SINGLE_STEP |	\
	 _TIF_BLOCK_STEP | _TIF_UPROBE_SINGLESTEP)
static_assert(!(KLP_OTHER_TIF_BITS & _TIF_PATCH_PENDING));
/* entry.S tests this one. */
static_assert(!(_TIF_ISOLATE_BP_GUEST & EXIT_TO_USER_MODE_WORK));
