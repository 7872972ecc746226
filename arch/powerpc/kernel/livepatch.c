// SPDX-License-Identifier: GPL-2.0
/*
 * Livepatch on powerpc, 64 bits: marking tasks, and what the core relies on.
 *
 * The way to user mode. System calls end in syscall_exit_to_user_mode(),
 * interrupts in irqentry_exit(), both in exit_to_user_mode_loop(). The assembly
 * in interrupt_64.S does not look at the flags. It does replay interrupts that
 * came while they were masked in software: such a replay goes through the
 * C code anew, and a flag that was set meanwhile is found.
 *
 * Having a task come by. The reschedule IPI is a doorbell or an interrupt of the
 * platform's controller (XICS, XIVE). Masked in software it is kept and replayed
 * when it is unmasked, so that none is lost.
 *
 * How functions are redirected. ftrace calls the handler from a function's
 * profiling code with the registers saved; to go on elsewhere the handler changes
 * regs->nip. ftrace_caller sees that it was changed, and goes on at
 * livepatch_handler: as the replacement is in another module, with another TOC,
 * r2 and the return address are put on the livepatch stack, which grows up from
 * the lower end of the task's stack (thread_info::livepatch_sp), r12 is set to
 * the new function's address, and its global entry works out r2. When it returns
 * both are restored. So the core gives the global entry, which is what the address
 * of a function is, in C and in kallsyms; there are no function descriptors in
 * ELFv2. The hook is behind the local entry, up to 16 bytes further on:
 * ftrace_location() finds it from the function's address.
 *
 * Stacks. HAVE_RELIABLE_STACKTRACE always: the ABI has the back chain and the
 * place of the saved link register in each frame. The walk refuses a stack with an
 * exception frame on it, and one whose end is not where it should be. The core
 * relies on no more than: a stack that is not refused shows each return address.
 *
 * A redirected call has its return address on the livepatch stack. What its frame
 * shows instead is livepatch_return; the walk takes the address from there, more
 * than once if a replacement ended in a branch to another redirected function. It
 * has to find as many calls in the frames as there are on the livepatch stack.
 *
 * A call that has not arrived. ftrace_caller makes a frame for the hooked function
 * whose return address is the one behind the hook, rec->ip + MCOUNT_INSN_SIZE,
 * though the link register has an address in the function's stub. Handlers change
 * regs->nip alone: the frame shows the hook for as long as C runs there. All else
 * up to the replacement is assembly, livepatch_handler and jumps included; a task
 * can be preempted there by an interrupt only, and then the walk refuses the stack.
 */
#include <linux/build_bug.h>
#include <linux/irq-entry-common.h>
#include <linux/livepatch_hooks.h>

static_assert(BIT(TIF_PATCH_PENDING) == _TIF_PATCH_PENDING);
static_assert(EXIT_TO_USER_MODE_WORK_SYSCALL & _TIF_PATCH_PENDING);
static_assert(EXIT_TO_USER_MODE_WORK_IRQ & _TIF_PATCH_PENDING);
/* The architecture's own name for the same. */
static_assert(_TIF_USER_WORK_MASK & _TIF_PATCH_PENDING);

#ifdef CONFIG_PPC64
#define KLP_TIF_ELF2ABI BIT(TIF_ELF2ABI)
#else
#define KLP_TIF_ELF2ABI 0
#endif

/* All bits but ours. */
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
/* Cleared by each system call. */
static_assert(!(_TIF_PERSYSCALL_MASK & _TIF_PATCH_PENDING));

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
