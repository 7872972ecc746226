// SPDX-License-Identifier: GPL-2.0

#include <linux/cpu.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/kobject.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/livepatch.h>
#include <linux/livepatch_exit.h>
#include <linux/livepatch_hooks.h>
#include <linux/livepatch_sched.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/rculist.h>
#include <linux/sched/idle.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/trace_recursion.h>
#include <linux/workqueue.h>

/*
 * What follows runs in ftrace handlers, in the scheduler and on the way to
 * user space where helpers are not inlined: keep it out of the tracer's reach.
 */

__rust_helper notrace int
rust_helper_ftrace_test_recursion_trylock(unsigned long ip, unsigned long parent_ip)
{
	return ftrace_test_recursion_trylock(ip, parent_ip);
}

__rust_helper notrace void rust_helper_ftrace_test_recursion_unlock(int bit)
{
	ftrace_test_recursion_unlock(bit);
}

__rust_helper notrace void
rust_helper_ftrace_regs_set_instruction_pointer(struct ftrace_regs *fregs, unsigned long ip)
{
	ftrace_regs_set_instruction_pointer(fregs, ip);
}

__rust_helper unsigned long rust_helper_ftrace_return_address(unsigned long ip)
{
	return ip + MCOUNT_INSN_SIZE;
}

__rust_helper notrace void rust_helper_preempt_disable_notrace(void)
{
	preempt_disable_notrace();
}

__rust_helper notrace void rust_helper_preempt_enable_notrace(void)
{
	preempt_enable_notrace();
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

__rust_helper void rust_helper_klp_set_patch_pending(struct task_struct *task)
{
	set_tsk_thread_flag(task, TIF_PATCH_PENDING);
}

__rust_helper void rust_helper_klp_set_pending_and_kick(struct task_struct *task)
{
	klp_arch_set_pending(task);
}

__rust_helper notrace bool rust_helper_klp_task_is_idle(struct task_struct *task)
{
	return is_idle_task(task);
}

__rust_helper void rust_helper_klp_clear_patch_pending(struct task_struct *task)
{
	clear_tsk_thread_flag(task, TIF_PATCH_PENDING);
}

__rust_helper notrace unsigned long rust_helper_klp_load_acquire(const unsigned long *p)
{
	/* What it pairs with is said where it is called. */
	return smp_load_acquire(p);
}

__rust_helper notrace int rust_helper_klp_current_patch_state(void)
{
	return READ_ONCE(current->patch_state);
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

__rust_helper const char *rust_helper_klp_task_comm(struct task_struct *task)
{
	return task->comm;
}

__rust_helper pid_t rust_helper_klp_task_pid(struct task_struct *task)
{
	return task->pid;
}

__rust_helper bool rust_helper_klp_task_is_kthread(struct task_struct *task)
{
	return task->flags & PF_KTHREAD;
}

__rust_helper unsigned long rust_helper_klp_thread_func(struct task_struct *task)
{
	/* NULL for user tasks, and for tasks that kthread_create() has not made. */
	return (unsigned long)kthread_func(task);
}

/* Stacks. */

__rust_helper bool rust_helper_try_get_task_stack(struct task_struct *task)
{
	return try_get_task_stack(task);
}

__rust_helper void rust_helper_put_task_stack(struct task_struct *task)
{
	put_task_stack(task);
}

__rust_helper bool rust_helper_klp_have_reliable_stack(void)
{
	return klp_have_reliable_stack();
}

/* Tasks. */

__rust_helper void rust_helper_read_lock_tasklist(void)
{
	read_lock(&tasklist_lock);
}

__rust_helper void rust_helper_read_unlock_tasklist(void)
{
	read_unlock(&tasklist_lock);
}

__rust_helper struct task_struct *rust_helper_next_process(struct task_struct *task)
{
	task = next_task(task);
	return task == &init_task ? NULL : task;
}

__rust_helper struct task_struct *rust_helper_first_thread(struct task_struct *process)
{
	return list_first_or_null_rcu(&process->signal->thread_head,
				      struct task_struct, thread_node);
}

__rust_helper struct task_struct *rust_helper_next_thread(struct task_struct *thread)
{
	return __next_thread(thread);
}

__rust_helper int rust_helper_pid_alive(const struct task_struct *task)
{
	return pid_alive(task);
}

__rust_helper bool rust_helper_thread_group_leader(struct task_struct *task)
{
	return thread_group_leader(task);
}

__rust_helper pid_t rust_helper_pid_nr(struct pid *pid)
{
	return pid_nr(pid);
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}

__rust_helper void rust_helper_set_notify_signal(struct task_struct *task)
{
	set_notify_signal(task);
}

__rust_helper void *rust_helper_livepatch_per_cpu_ptr(void *base, unsigned int cpu)
{
	return per_cpu_ptr((void __percpu *)base, cpu);
}

__rust_helper unsigned int rust_helper_cpumask_next_possible(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}

__rust_helper bool rust_helper_cpu_online(unsigned int cpu)
{
	return cpu_online(cpu);
}

__rust_helper bool rust_helper_klp_cpu_is_isolated(unsigned int cpu)
{
	return klp_cpu_is_isolated(cpu);
}

#ifndef CONFIG_HOTPLUG_CPU
__rust_helper void rust_helper_cpus_read_lock(void)
{
	cpus_read_lock();
}

__rust_helper void rust_helper_cpus_read_unlock(void)
{
	cpus_read_unlock();
}
#endif

__rust_helper void rust_helper_klp_sched_check(bool on)
{
	if (on)
		static_branch_enable(&klp_sched_try_switch_key);
	else
		static_branch_disable(&klp_sched_try_switch_key);
}

__rust_helper bool rust_helper_klp_look_for_hooks(void)
{
	return !klp_test_skip_hooks();
}

__rust_helper bool rust_helper_klp_skip_scan_rule(int error)
{
	return klp_test_skip_scan_rule(error);
}

__rust_helper void rust_helper_lockdep_assert_preemption_disabled(void)
{
	lockdep_assert_preemption_disabled();
}

/* Lists. */

__rust_helper void rust_helper_list_add(struct list_head *new, struct list_head *head)
{
	list_add(new, head);
}

__rust_helper void rust_helper_list_del(struct list_head *entry)
{
	list_del(entry);
}

__rust_helper void rust_helper_list_add_tail_rcu(struct list_head *new, struct list_head *head)
{
	list_add_tail_rcu(new, head);
}

__rust_helper void rust_helper_list_del_rcu(struct list_head *entry)
{
	list_del_rcu(entry);
}

/* Shadow variables. */

__rust_helper void *rust_helper_kzalloc(size_t size, gfp_t flags)
{
	return kzalloc(size, flags);
}

__rust_helper void rust_helper_klp_warn_duplicate_shadow(void *obj, unsigned long id)
{
	WARN(1, "Duplicate shadow variable <%p, %lx>\n", obj, id);
}

/* Modules. */

__rust_helper bool rust_helper_is_livepatch_module(struct module *mod)
{
	return is_livepatch_module(mod);
}

__rust_helper void
rust_helper_klp_module_text(struct module *mod, unsigned long *start, unsigned long *size)
{
	*start = (unsigned long)mod->mem[MOD_TEXT].base;
	*size = mod->mem[MOD_TEXT].size;
}

/* Work. */

__rust_helper void rust_helper_klp_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

__rust_helper bool rust_helper_klp_queue_work_on(unsigned int cpu, struct work_struct *work)
{
	/* Before ordinary tasks and works: the transition waits for each of these. */
	return queue_work_on(cpu, system_highpri_wq, work);
}

__rust_helper void rust_helper_klp_init_delayed_work(struct delayed_work *work, work_func_t func)
{
	INIT_DELAYED_WORK(work, func);
}

__rust_helper void rust_helper_klp_schedule_work(struct work_struct *work)
{
	schedule_work(work);
}

__rust_helper struct workqueue_struct *rust_helper_klp_alloc_workqueue(void)
{
	/*
	 * Unbound: the task that switches last may be on a CPU that is isolated,
	 * and the work is not to run there. Of high priority: on a machine whose
	 * CPUs are all busy, attempts would wait for their turn otherwise.
	 */
	return alloc_workqueue("livepatch", WQ_UNBOUND | WQ_HIGHPRI, 0);
}
