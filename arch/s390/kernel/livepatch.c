// SPDX-License-Identifier: GPL-2.0
/*
 * Livepatch on s390: marking tasks, and what the core relies on.
 *
 * The way to user mode. System calls end in syscall_exit_to_user_mode(), external,
 * I/O and program interruptions in irqentry_exit(), both in
 * exit_to_user_mode_loop(). Of the thread flags entry.S looks at
 * _TIF_ISOLATE_BP_GUEST only, by a copy that is made when a guest is entered;
 * machine checks have a flag of their own in the lowcore. There are no tasks of
 * 31 bits: this kernel has no CONFIG_COMPAT.
 *
 * Having a task come by. The reschedule IPI is an external call (SIGP), which
 * enters by do_ext_irq() and leaves by irqentry_exit(). A CPU whose virtual
 * processor does not run gets it when it does.
 *
 * How functions are redirected. ftrace calls the handler from the brcl that
 * begins each function, with all registers saved; to go on elsewhere the handler
 * changes regs->psw.addr. A function has one address.
 *
 * Stacks. HAVE_RELIABLE_STACKTRACE always: the kernel is built so that each frame
 * has a back chain (-mbackchain). The walk refuses a stack with an interruption
 * on it, one that leaves the task's stack, and one that does not end where it
 * should. The core relies on no more than: a stack that is not refused shows each
 * return address.
 *
 * A call that has not arrived. ftrace_caller makes a frame for the hooked function
 * with the address that the brasl left in r0, or the hotpatch trampoline put there:
 * the one behind the hook, rec->ip + MCOUNT_INSN_SIZE. Handlers change regs->psw.addr
 * alone: the frame shows the hook for as long as C runs there. All else up to the
 * replacement is assembly, jumps included; a task can be preempted there by an
 * interruption only, and then the walk refuses the stack. BPF trampolines are the
 * exception: they keep the address that the call is to go on at in a register.
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
	 _TIF_RESTORE_SIGMASK | _TIF_RSEQ | _TIF_HRTIMER_REARM |	\
	 _TIF_ASCE_PRIMARY | _TIF_GUARDED_STORAGE |			\
	 _TIF_ISOLATE_BP_GUEST | _TIF_PER_TRAP | _TIF_SINGLE_STEP |	\
	 _TIF_BLOCK_STEP | _TIF_UPROBE_SINGLESTEP)
static_assert(!(KLP_OTHER_TIF_BITS & _TIF_PATCH_PENDING));
/* What entry.S looks at. */
static_assert(!(_TIF_ISOLATE_BP_GUEST & EXIT_TO_USER_MODE_WORK));

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
