// SPDX-License-Identifier: GPL-2.0
/*
 * Livepatch on x86-64: marking tasks, and what the core relies on.
 *
 * The way to user mode. System calls, 64 and 32 bits, interrupts and exceptions
 * all end in exit_to_user_mode_loop() if the thread flags have a bit of
 * EXIT_TO_USER_MODE_WORK. No assembly looks at the flags. A return by SYSRET and
 * one by IRET differ only after that.
 *
 * Having a task come by. The reschedule IPI enters by irqentry_enter() and leaves
 * by irqentry_exit(), thus by the same loop if it came in user mode.
 *
 * How functions are redirected. ftrace calls the handler from the nop that begins
 * each function (-mfentry; behind ENDBR with IBT) with the arguments saved; to
 * go on elsewhere the handler changes regs->ip. A function has one address: where
 * it is called, where its symbol is and, but for ENDBR, where its hook is.
 *
 * Stacks. HAVE_RELIABLE_STACKTRACE comes with the ORC unwinder, or with frame
 * pointers that objtool has checked (STACK_VALIDATION). Both refuse a stack with
 * an interrupt or exception in kernel mode on it, with frame pointers always,
 * with ORC unless the whole of it is described. The core relies on no more than:
 * a stack that is not refused shows each return address. Without reliable stacks
 * tasks switch by the hook alone.
 */
#include <linux/build_bug.h>
#include <linux/irq-entry-common.h>
#include <linux/livepatch_hooks.h>

static_assert(BIT(TIF_PATCH_PENDING) == _TIF_PATCH_PENDING);
static_assert(EXIT_TO_USER_MODE_WORK_SYSCALL & _TIF_PATCH_PENDING);
static_assert(EXIT_TO_USER_MODE_WORK_IRQ & _TIF_PATCH_PENDING);

/* All bits but ours. */
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

/**
 * klp_arch_set_pending() - have a task switch on its way to user mode
 * @task: the task, any of those on the task list or an idle one
 *
 * May be called with tasklist_lock held: it takes no lock, and sends an interrupt
 * only if the task runs on another CPU.
 */
void klp_arch_set_pending(struct task_struct *task)
{
	set_tsk_thread_flag(task, TIF_PATCH_PENDING);
	klp_kick_user(task);
}
