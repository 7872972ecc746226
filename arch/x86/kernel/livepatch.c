// SPDX-License-Identifier: GPL-2.0
/*
 * Livepatch on x86: no other flag shares the bit of TIF_PATCH_PENDING.
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
	 _TIF_RSEQ | _TIF_HRTIMER_REARM |				\
	 _TIF_SSBD | _TIF_SPEC_IB | _TIF_SPEC_L1D_FLUSH |		\
	 _TIF_NEED_FPU_LOAD | _TIF_NOCPUID | _TIF_NOTSC |		\
	 _TIF_IO_BITMAP | _TIF_SPEC_FORCE_UPDATE | _TIF_FORCED_TF |	\
	 _TIF_SINGLESTEP | _TIF_BLOCKSTEP | _TIF_ADDR32)
static_assert(!(KLP_OTHER_TIF_BITS & _TIF_PATCH_PENDING));
/* __switch_to_xtra() acts on these. */
static_assert(!((_TIF_WORK_CTXSW_PREV | _TIF_WORK_CTXSW_NEXT) & _TIF_PATCH_PENDING));
