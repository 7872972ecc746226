// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark's part in the kernel: time stamps of what a livepatch core does,
 * seen from outside and in the same way for each core, and the costs of calls.
 *
 * /proc/klp_bench takes commands and gives results. All times are those of a
 * clock that counts instructions in a guest with -icount shift=0: the time stamp
 * counter, or the kernel's monotonic clock where another takes too long to read.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <trace/events/printk.h>

#include "klp_bench.h"

#ifdef CONFIG_X86
#include <asm/msr.h>
#define now() rdtsc_ordered()
#else
#define now() ktime_get_mono_fast_ns()
#endif

/*
 * Events: the lines that the core writes to the kernel log, references to
 * modules of ours that are given back, marks. They are seen as they happen, by
 * tracepoints, not when something reads the log.
 */

struct event {
	u64 time;
	char text[56];
};

static struct event events[256];
static unsigned int nr_events;
static DEFINE_RAW_SPINLOCK(events_lock);
static DECLARE_WAIT_QUEUE_HEAD(events_wait);

static void events_wake(struct irq_work *work)
{
	wake_up_all(&events_wait);
}

static struct irq_work events_work = IRQ_WORK_INIT(events_wake);

static void add_event(const char *prefix, const char *text, size_t len)
{
	u64 time = now();
	unsigned long flags;
	struct event *event;

	raw_spin_lock_irqsave(&events_lock, flags);
	if (nr_events < ARRAY_SIZE(events)) {
		event = &events[nr_events];
		event->time = time;
		snprintf(event->text, sizeof(event->text), "%s%.*s", prefix, (int)len, text);
		nr_events++;
	}
	raw_spin_unlock_irqrestore(&events_lock, flags);
	/* Whoever waits is not woken here: the caller may hold any lock. */
	irq_work_queue(&events_work);
}

/* Memory in slabs, in bytes. */

static u64 slab_then;

static u64 memory_slab(void)
{
	return (u64)(global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B) +
		     global_node_page_state_pages(NR_SLAB_UNRECLAIMABLE_B)) << PAGE_SHIFT;
}

void klp_bench_mark(const char *text)
{
	if (!strcmp(text, "call"))
		slab_then = memory_slab();
	add_event("mark: ", text, strlen(text));
}
EXPORT_SYMBOL_GPL(klp_bench_mark);

static void on_console(void *data, const char *text, size_t len)
{
	if (len > 11 && !strncmp(text, "livepatch: ", 11))
		add_event("", text, len);
}

static void on_module_put(void *data, struct module *mod, unsigned long ip)
{
	if (!strncmp(mod->name, "bench_", 6))
		add_event("put: ", mod->name, strlen(mod->name));
}

static struct tracepoint *module_put_point;

static void find_module_put(struct tracepoint *point, void *data)
{
	if (!strcmp(point->name, "module_put"))
		module_put_point = point;
}

/* Whether there is an event after which nobody has to wait for @text any more. */
static bool has_event(const char *text)
{
	unsigned long flags;
	bool found = false;
	unsigned int i;

	raw_spin_lock_irqsave(&events_lock, flags);
	for (i = 0; i < nr_events && !found; i++)
		found = strstr(events[i].text, text);
	raw_spin_unlock_irqrestore(&events_lock, flags);
	return found;
}

/* The target, its calls, and what they cost. */

static DEFINE_MUTEX(target_lock);
static const struct klp_bench_target *target;

void klp_bench_set_target(const struct klp_bench_target *new_target)
{
	mutex_lock(&target_lock);
	target = new_target;
	mutex_unlock(&target_lock);
}
EXPORT_SYMBOL_GPL(klp_bench_set_target);

/* What the last command has found out. */
static u64 result;

#define CALLS 10000
#define ROUNDS 5

/* Returns how long CALLS calls of the first function take, at the least. */
static u64 measure_calls(void)
{
	int (*function)(int) = target->functions[0];
	u64 start, took, best = U64_MAX;
	unsigned long flags;
	int round, i, sum;

	for (round = 0; round < ROUNDS; round++) {
		sum = 0;
		local_irq_save(flags);
		start = now();
		for (i = 0; i < CALLS; i++)
			sum += function(i);
		took = now() - start;
		local_irq_restore(flags);
		OPTIMIZER_HIDE_VAR(sum);
		best = min(best, took);
		cond_resched();
	}
	return best;
}

/* Returns how many functions of the target return what patch @version does. */
static u64 count_patched(int version)
{
	unsigned int i;
	u64 count = 0;

	for (i = 0; i < target->count; i++)
		count += target->functions[i](0) == i * 10 + version;
	return count;
}

/*
 * A thread that waits in a function of the target, so that a transition which
 * that function is part of cannot end; it can also measure calls, as a task that
 * has not switched.
 */

static struct task_struct *blocker;
static bool blocker_inside, blocker_stop, blocker_measure;
static DECLARE_WAIT_QUEUE_HEAD(blocker_wait);

static void blocker_in_target(void)
{
	blocker_inside = true;
	wake_up_all(&blocker_wait);
	for (;;) {
		wait_event(blocker_wait, READ_ONCE(blocker_stop) || READ_ONCE(blocker_measure));
		if (READ_ONCE(blocker_stop))
			break;
		result = measure_calls();
		WRITE_ONCE(blocker_measure, false);
		wake_up_all(&blocker_wait);
	}
}

static int blocker_thread(void *data)
{
	target->block(blocker_in_target);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 100);
	return 0;
}

static int start_blocker(void)
{
	if (blocker)
		return -EBUSY;
	blocker_inside = false;
	blocker_stop = false;
	blocker = kthread_run(blocker_thread, NULL, "bench_blocker");
	if (IS_ERR(blocker)) {
		int ret = PTR_ERR(blocker);

		blocker = NULL;
		return ret;
	}
	wait_event(blocker_wait, READ_ONCE(blocker_inside));
	return 0;
}

static void stop_blocker(void)
{
	if (!blocker)
		return;
	WRITE_ONCE(blocker_stop, true);
	wake_up_all(&blocker_wait);
	kthread_stop(blocker);
	blocker = NULL;
}

/*
 * A kernel thread that is always busy, and gives way. cond_resched() would not do:
 * with lazy preemption it is empty, and who unregisters from ftrace waits until
 * each task has given way by itself.
 */

static struct task_struct *yielder;

static int yielder_thread(void *data)
{
	while (!kthread_should_stop())
		schedule();
	return 0;
}

static int start_yielder(void)
{
	if (yielder)
		return -EBUSY;
	yielder = kthread_run(yielder_thread, NULL, "bench_yielder");
	if (IS_ERR(yielder)) {
		int ret = PTR_ERR(yielder);

		yielder = NULL;
		return ret;
	}
	return 0;
}

static void stop_yielder(void)
{
	if (yielder)
		kthread_stop(yielder);
	yielder = NULL;
}

/*
 * How long tasklist_lock is held: from the call of the function that takes it to
 * the call of the one that releases it. Preemption is disabled in between, so
 * that on one CPU this is what the holder does, and interrupts.
 */

static unsigned long tasklist;
static u64 held_since, held_longest;
static unsigned int held_depth;

static void notrace on_lock(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			    struct ftrace_regs *fregs)
{
	if (ftrace_regs_get_argument(fregs, 0) == tasklist && !held_depth++)
		held_since = now();
}

static void notrace on_unlock(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			      struct ftrace_regs *fregs)
{
	if (ftrace_regs_get_argument(fregs, 0) == tasklist && held_depth && !--held_depth)
		held_longest = max(held_longest, now() - held_since);
}

static struct ftrace_ops lock_ops = { .func = on_lock };
static struct ftrace_ops unlock_ops = { .func = on_unlock };

static void hold_stop(void)
{
	if (!tasklist)
		return;
	unregister_ftrace_function(&lock_ops);
	unregister_ftrace_function(&unlock_ops);
	ftrace_free_filter(&lock_ops);
	ftrace_free_filter(&unlock_ops);
	tasklist = 0;
	result = held_longest;
}

static int hold_filter(struct ftrace_ops *ops, const char *read, const char *write)
{
	int ret = ftrace_set_filter(ops, (unsigned char *)read, strlen(read), 1);

	return ret ? ret : ftrace_set_filter(ops, (unsigned char *)write, strlen(write), 0);
}

static int hold_start(const char *address)
{
	int ret;

	if (tasklist)
		return -EBUSY;
	ret = kstrtoul(address, 16, &tasklist);
	if (ret)
		return ret;
	held_longest = 0;
	held_depth = 0;
	ret = hold_filter(&lock_ops, "_raw_read_lock", "_raw_write_lock_irq");
	if (!ret)
		ret = hold_filter(&unlock_ops, "_raw_read_unlock", "_raw_write_unlock_irq");
	if (!ret)
		ret = register_ftrace_function(&unlock_ops);
	if (!ret) {
		ret = register_ftrace_function(&lock_ops);
		if (ret)
			unregister_ftrace_function(&unlock_ops);
	}
	if (ret)
		tasklist = 0;
	return ret;
}

/* /proc/klp_bench */

static int command_of_target(const char *command)
{
	int version, ret = 0;

	mutex_lock(&target_lock);
	if (!target)
		ret = -ENODEV;
	else if (!strcmp(command, "call"))
		result = measure_calls();
	else if (sscanf(command, "patched %d", &version) == 1)
		result = count_patched(version);
	else if (!strcmp(command, "block"))
		ret = start_blocker();
	else
		ret = -EINVAL;
	mutex_unlock(&target_lock);
	return ret;
}

static int run_command(char *command)
{
	unsigned long flags;

	if (!strcmp(command, "clear")) {
		raw_spin_lock_irqsave(&events_lock, flags);
		nr_events = 0;
		raw_spin_unlock_irqrestore(&events_lock, flags);
		return 0;
	}
	if (!strncmp(command, "wait ", 5))
		return wait_event_interruptible(events_wait, has_event(command + 5));
	if (!strcmp(command, "call in block")) {
		if (!blocker)
			return -ENODEV;
		WRITE_ONCE(blocker_measure, true);
		wake_up_all(&blocker_wait);
		wait_event(blocker_wait, !READ_ONCE(blocker_measure));
		return 0;
	}
	if (!strcmp(command, "unblock")) {
		stop_blocker();
		return 0;
	}
	if (!strcmp(command, "yield"))
		return start_yielder();
	if (!strcmp(command, "stop yield")) {
		stop_yielder();
		return 0;
	}
	if (!strcmp(command, "memory slab")) {
		result = memory_slab() - slab_then;
		return 0;
	}
	if (!strncmp(command, "hold ", 5))
		return hold_start(command + 5);
	if (!strcmp(command, "stop hold")) {
		hold_stop();
		return 0;
	}
	return command_of_target(command);
}

static ssize_t bench_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	char command[64];
	int ret;

	if (count >= sizeof(command))
		return -EINVAL;
	if (copy_from_user(command, buf, count))
		return -EFAULT;
	command[count] = '\0';
	ret = run_command(command);
	return ret ? ret : count;
}

static int bench_show(struct seq_file *m, void *v)
{
	unsigned int i;

	seq_printf(m, "result %llu\n", result);
	mutex_lock(&target_lock);
	if (target)
		seq_printf(m, "function %ps\n", target->functions[0]);
	mutex_unlock(&target_lock);
	for (i = 0; i < READ_ONCE(nr_events); i++)
		seq_printf(m, "event %llu %s\n", events[i].time, strim(events[i].text));
	return 0;
}

static int bench_open(struct inode *inode, struct file *file)
{
	return single_open(file, bench_show, NULL);
}

static const struct proc_ops bench_proc_ops = {
	.proc_open = bench_open,
	.proc_read = seq_read,
	.proc_write = bench_write,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

static int __init klp_bench_init(void)
{
	int ret;

	for_each_kernel_tracepoint(find_module_put, NULL);
	if (!module_put_point)
		return -ENOENT;
	ret = register_trace_console(on_console, NULL);
	if (ret)
		return ret;
	ret = tracepoint_probe_register(module_put_point, on_module_put, NULL);
	if (ret)
		goto err_console;
	ret = -ENOMEM;
	if (proc_create("klp_bench", 0600, NULL, &bench_proc_ops))
		return 0;

	tracepoint_probe_unregister(module_put_point, on_module_put, NULL);
err_console:
	unregister_trace_console(on_console, NULL);
	tracepoint_synchronize_unregister();
	return ret;
}

/* There is no exit: the guest ends with the benchmark. */
module_init(klp_bench_init);
MODULE_DESCRIPTION("Livepatch benchmark: time stamps, calls, locks");
MODULE_LICENSE("GPL");
