// SPDX-License-Identifier: GPL-2.0
/*
 * Livepatch on powerpc: no other flag shares the bit of TIF_PATCH_PENDING.
 * kernel/livepatch/hooks.c has the checks for all architectures;
 * Documentation/livepatch/rust-core-arch.rst describes what the livepatch core
 * relies on.
 */
#include <linux/build_bug.h>
#include <linux/irq-entry-common.h>
#include <linux/thread_info.h>

/* The architecture's own name for the flags that are handled on the exit. */
static_assert(_TIF_USER_WORK_MASK & _TIF_PATCH_PENDING);

#ifdef CONFIG_PPC64
#define KLP_TIF_ELF2ABI BIT(TIF_ELF2ABI)
#else
#define KLP_TIF_ELF2ABI 0
#endif

/* All other flags. */
#define KLP_OTHER_TIF_BITS						\
	(_TIF_SYSCALL_TRACE | _TIF_SIGPENDING | _TIF_NEED_RESCHED |	\
	 _TIF_NEED_RESCHED_LAZY | _TIF_NOTIFY_SIGNAL |			\
	 _TIF_POLLING_NRFLAG | _TIF_32BIT | _TIF_RESTORE_TM |		\
	 _TIF_SYSCALL_AUDIT | _TIF_SINGLESTEP | _TIF_SECCOMP |		\
	 _TIF_RESTOREALL | _TIF_NOERROR | _TIF_NOTIFY_RESUME |		\
	 _TIF_UPROBE | _TIF_SYSCALL_TRACEPOINT |			\
	 _TIF_EMULATE_STACK_STORE | _TIF_SYSCALL_EMU |			\
	 BIT(TIF_MEMDIE) | KLP_TIF_ELF2ABI | BIT(TIF_SYSCALL_RET))
static_assert(!(KLP_OTHER_TIF_BITS & _TIF_PATCH_PENDING));
/* Each system call clears these. */
static_assert(!(_TIF_PERSYSCALL_MASK & _TIF_PATCH_PENDING));
