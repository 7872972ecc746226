// SPDX-License-Identifier: GPL-2.0

#include <linux/kthread.h>
#include <linux/livepatch.h>
#include <linux/livepatch_hooks.h>
#include <linux/livepatch_sched.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rculist.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

/*
 * What runs in the ftrace handler, in the scheduler and on the way to user mode
 * where helpers are not inlined: keep it out of the tracer's reach.
 */

__rust_helper notrace unsigned long rust_helper_klp_load_acquire(const unsigned long *p)
{
	/* What it pairs with is said where it is called. */
	return smp_load_acquire(p);
}

__rust_helper notrace int rust_helper_klp_current_patch_state(void)
{
	return READ_ONCE(current->patch_state);
}

__rust_helper notrace bool rust_helper_klp_patch_pending(struct task_struct *task)
{
	return klp_patch_pending(task);
}

__rust_helper notrace bool
rust_helper_klp_test_and_clear_patch_pending(struct task_struct *task)
{
	return test_and_clear_tsk_thread_flag(task, TIF_PATCH_PENDING);
}

__rust_helper notrace bool rust_helper_klp_task_is_idle(struct task_struct *task)
{
	return is_idle_task(task);
}

/*
 * Fields of tasks: bindgen may put fields of task_struct elsewhere than C does,
 * as it ignores the alignment of the empty struct sched_statistics that there
 * is without CONFIG_SCHEDSTATS.
 */

__rust_helper notrace int rust_helper_klp_task_patch_state(struct task_struct *task)
{
	return READ_ONCE(task->patch_state);
}

__rust_helper notrace void
rust_helper_klp_task_set_patch_state(struct task_struct *task, int state)
{
	WRITE_ONCE(task->patch_state, state);
}

__rust_helper void rust_helper_klp_copy_comm(struct task_struct *task, char *to)
{
	/* The task may be changing its name; the last byte is always zero. */
	strscpy_pad(to, task->comm, TASK_COMM_LEN);
}

__rust_helper pid_t rust_helper_klp_task_pid(struct task_struct *task)
{
	return task->pid;
}

__rust_helper unsigned long rust_helper_klp_thread_func(struct task_struct *task)
{
	/* NULL for user tasks, and for tasks that kthread_create() has not made. */
	return (unsigned long)kthread_func(task);
}

/* Flags of tasks. */

__rust_helper void rust_helper_klp_set_patch_pending(struct task_struct *task)
{
	set_tsk_thread_flag(task, TIF_PATCH_PENDING);
}

__rust_helper void rust_helper_klp_set_pending_and_kick(struct task_struct *task)
{
	klp_arch_set_pending(task);
}

__rust_helper void rust_helper_klp_clear_patch_pending(struct task_struct *task)
{
	clear_tsk_thread_flag(task, TIF_PATCH_PENDING);
}

__rust_helper void rust_helper_klp_send_fake_signal(struct task_struct *task)
{
	if (task->flags & PF_KTHREAD)
		wake_up_state(task, TASK_INTERRUPTIBLE);
	else
		set_notify_signal(task);
}

/* The lists of tasks. */

__rust_helper struct task_struct *rust_helper_klp_next_process(struct task_struct *task)
{
	task = next_task(task);
	return task == &init_task ? NULL : task;
}

__rust_helper struct task_struct *rust_helper_klp_first_thread(struct task_struct *process)
{
	return list_first_or_null_rcu(&process->signal->thread_head,
				      struct task_struct, thread_node);
}

__rust_helper struct task_struct *rust_helper_klp_next_thread(struct task_struct *thread)
{
	return __next_thread(thread);
}

/* Whether the lists lead on from both. tasklist_lock must be held. */
__rust_helper bool
rust_helper_klp_are_listed(struct task_struct *leader, struct task_struct *task)
{
	return thread_group_leader(leader) && pid_alive(leader) && pid_alive(task);
}

/*
 * The task with the lowest id from *nr on, which is written to *nr: 0 if there is
 * no such id. NULL if the task has gone meanwhile. RCU's read side must be held.
 */
__rust_helper struct task_struct *rust_helper_klp_find_task_from(pid_t *nr)
{
	struct pid *pid = find_ge_pid(*nr, &init_pid_ns);

	*nr = pid_nr(pid);
	return pid_task(pid, PIDTYPE_PID);
}

__rust_helper void rust_helper_klp_cond_resched(void)
{
	cond_resched();
}

/* The rest. */

__rust_helper bool rust_helper_is_livepatch_module(struct module *mod)
{
	return is_livepatch_module(mod);
}

__rust_helper bool rust_helper_klp_cpu_is_isolated(unsigned int cpu)
{
	return klp_cpu_is_isolated(cpu);
}

__rust_helper void rust_helper_klp_sched_check(bool on)
{
	if (on)
		static_branch_enable(&klp_sched_try_switch_key);
	else
		static_branch_disable(&klp_sched_try_switch_key);
}

__rust_helper void rust_helper_klp_assert_preemption_disabled(void)
{
	lockdep_assert_preemption_disabled();
}

__rust_helper void rust_helper_klp_warn_duplicate_shadow(void *obj, unsigned long id)
{
	WARN(1, "Duplicate shadow variable <%p, %lx>\n", obj, id);
}

__rust_helper void *rust_helper_klp_per_cpu_ptr(void *base, unsigned int cpu)
{
	return per_cpu_ptr((void __percpu *)base, cpu);
}

/* For tests. */

__rust_helper bool rust_helper_klp_look_for_hooks(void)
{
	return !klp_test_skip_hooks();
}

__rust_helper bool rust_helper_klp_skip_scan_rule(int error)
{
	return klp_test_skip_scan_rule(error);
}
