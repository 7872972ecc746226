// SPDX-License-Identifier: GPL-2.0
/*
 * A checker of the consistency model. It knows from the callbacks of the
 * patches which versions of two functions exist, and which patch is in
 * transition. Every version checks at its entry, between its calls and at its
 * end whether its task may be in it.
 *
 * The rule has no exceptions and no grace period: a version that the patch in
 * transition replaces, or adds, keeps its task from being switched from the
 * moment when it is chosen until it returns. So at each of these moments the
 * task's patch_state determines which version it must be.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

#include "klpr_check.h"

#define KLPR_MAX_PATCHES 8
#define KLPR_MAX_REPORTS 10

static const char * const klpr_func_names[] = { "outer", "inner" };

struct klpr_patch_info {
	int version;
	/* Which functions it has, a bit for each of enum klpr_func. */
	unsigned int funcs;
	bool replace;
};

/*
 * What the core has done so far. Callbacks run one at a time; the lock is for the
 * sequence count only.
 */
static DEFINE_RAW_SPINLOCK(klpr_lock);
static seqcount_raw_spinlock_t klpr_seq = SEQCNT_RAW_SPINLOCK_ZERO(klpr_seq, &klpr_lock);
static struct klpr_patch_info klpr_patches[KLPR_MAX_PATCHES];
static int klpr_count;
/* The version of the patch in transition, or 0. */
static int klpr_moving;

static atomic_t klpr_versions;
static atomic_t klpr_violations;
static atomic_long_t klpr_calls;
static atomic_long_t klpr_stalls;
/* How often a task was asked during a transition, by its patch_state. */
static atomic_long_t klpr_asked[2];

/* The calls in progress, those that are still in ftrace included. */
static atomic_t klpr_in_flight;
static bool klpr_pause;

static DECLARE_WAIT_QUEUE_HEAD(klpr_wait);
static bool klpr_released;
static atomic_t klpr_holders;

int klpr_check_new_version(void)
{
	return atomic_inc_return(&klpr_versions);
}
EXPORT_SYMBOL_GPL(klpr_check_new_version);

/*
 * Called by the pre_patch and pre_unpatch callbacks of a patch: tasks are about
 * to switch to it or away from it. All have the patch_state that they start
 * from by then.
 */
int klpr_check_begin(int version, unsigned int funcs, bool replace)
{
	unsigned long flags;
	int i, ret = 0;

	raw_spin_lock_irqsave(&klpr_lock, flags);
	write_seqcount_begin(&klpr_seq);
	for (i = 0; i < klpr_count; i++)
		if (klpr_patches[i].version == version)
			break;
	if (i == KLPR_MAX_PATCHES) {
		ret = -ENOSPC;
	} else {
		if (i == klpr_count) {
			klpr_patches[klpr_count++] = (struct klpr_patch_info) {
				.version = version, .funcs = funcs, .replace = replace,
			};
		}
		klpr_moving = version;
	}
	write_seqcount_end(&klpr_seq);
	raw_spin_unlock_irqrestore(&klpr_lock, flags);
	return ret;
}
EXPORT_SYMBOL_GPL(klpr_check_begin);

/* Called by post_patch and post_unpatch. All patch_states are -1 by then. */
void klpr_check_end(int version, bool patched)
{
	unsigned long flags;
	int i, kept = 0;

	raw_spin_lock_irqsave(&klpr_lock, flags);
	write_seqcount_begin(&klpr_seq);
	for (i = 0; i < klpr_count; i++)
		if (klpr_patches[i].version == version)
			break;
	if (i < klpr_count && patched && klpr_patches[i].replace) {
		klpr_patches[0] = klpr_patches[i];
		klpr_count = 1;
	} else if (!patched) {
		for (i = 0; i < klpr_count; i++)
			if (klpr_patches[i].version != version)
				klpr_patches[kept++] = klpr_patches[i];
		klpr_count = kept;
	}
	klpr_moving = 0;
	write_seqcount_end(&klpr_seq);
	raw_spin_unlock_irqrestore(&klpr_lock, flags);
}
EXPORT_SYMBOL_GPL(klpr_check_end);

/* A function's version for a task with or without the patch in transition. */
static int klpr_expected(enum klpr_func func, bool has_moving)
{
	int i;

	for (i = klpr_count - 1; i >= 0; i--) {
		const struct klpr_patch_info *patch = &klpr_patches[i];

		if (patch->version == klpr_moving && !has_moving)
			continue;
		if (patch->funcs & BIT(func))
			return patch->version;
		/* Functions that it does not have go back to the original. */
		if (patch->replace)
			break;
	}
	return KLPR_ORIGINAL;
}

/*
 * Check whether the current task may be in the version of @func that it is in.
 *
 * The result is certain. While the task runs, its patch_state does not change,
 * except when the core begins and ends a transition for all tasks. The core
 * begins one before the callbacks that call klpr_check_begin(): a task that
 * sees the patch in transition sees 0 or 1, and a task that does not is in the
 * newest version, from which all tasks start. The core ends one before the
 * callbacks that call klpr_check_end(): a task that still sees the patch in
 * transition may have -1, and be in the version of either direction; a task
 * that does not see it is in the version where all tasks have arrived. For
 * that, the write barriers of the sequence count pair with its read barriers,
 * between which patch_state is read.
 *
 * patch_state at the entry is not compared with that at the end: a task may
 * switch in a function that the patch in transition leaves alone.
 */
void klpr_check_at(struct klpr_call *call, enum klpr_func func, const char *where)
{
	int version = call->version[func];
	int state, expected, other, moving;
	unsigned int seq;

	do {
		seq = read_seqcount_begin(&klpr_seq);
		state = READ_ONCE(current->patch_state);
		moving = klpr_moving;
		expected = klpr_expected(func, state != 0);
		/* All have arrived, and the direction is not known yet. */
		other = moving && state < 0 ? klpr_expected(func, false) : expected;
	} while (read_seqcount_retry(&klpr_seq, seq));

	if (moving && state >= 0)
		atomic_long_inc(&klpr_asked[state != 0]);
	if (likely(version == expected || version == other) || call->violated)
		return;

	/* Further violations in the same call may follow from the first. */
	call->violated = true;
	if (atomic_inc_return(&klpr_violations) <= KLPR_MAX_REPORTS)
		pr_err("VIOLATION: %s:%d%s %s version %d of %s(), not %d; its patch_state is %d, version %d is in transition\n",
		       current->comm, current->pid, current->flags & PF_KTHREAD ? " (kthread)" : "",
		       where, version, klpr_func_names[func], expected, state, moving);
}
EXPORT_SYMBOL_GPL(klpr_check_at);

/* Numbers without a pattern; these functions must not be traced. */
static notrace unsigned int klpr_any(unsigned int below)
{
	static atomic_t count;

	return hash_32(atomic_inc_return(&count), 24) % below;
}

static notrace bool klpr_wants_cpu(void)
{
	return need_resched() || test_tsk_thread_flag(current, TIF_NEED_RESCHED_LAZY);
}

/*
 * Called in ftrace's callbacks of a function: now and then wait until another
 * task wants the CPU, and yield it as soon as the callbacks are done. By then
 * the livepatch handler has chosen the version, and the task has not reached
 * it.
 */
notrace void klpr_check_stall(unsigned int one_in)
{
	unsigned long end = jiffies + msecs_to_jiffies(20);

	if (!in_task() || irqs_disabled())
		return;
	if (one_in && !klpr_any(one_in))
		while (!klpr_wants_cpu() && time_before(jiffies, end))
			cpu_relax();
	if (klpr_wants_cpu()) {
		set_tsk_need_resched(current);
		set_preempt_need_resched();
		atomic_long_inc(&klpr_stalls);
	}
}
EXPORT_SYMBOL_GPL(klpr_check_stall);

/* What inner() does in each of its versions. */
void klpr_check_work(struct klpr_call *call)
{
	if (call->hold) {
		/* It is released only once, however often outer() calls. */
		call->hold = false;
		atomic_inc(&klpr_holders);
		wait_event(klpr_wait, READ_ONCE(klpr_released));
		atomic_dec(&klpr_holders);
		return;
	}
	switch (klpr_any(64)) {
	case 0:
		schedule_timeout_uninterruptible(1);
		break;
	case 1:
		/* Where the scheduler may switch it. */
		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		schedule_timeout(1);
		break;
	case 2 ... 7:
		udelay(klpr_any(200));
		break;
	case 8 ... 15:
		schedule();
		break;
	}
}
EXPORT_SYMBOL_GPL(klpr_check_work);

/*
 * Call outer() once. Returns -EAGAIN, without a call, as long as calls are to pause.
 */
int klpr_check_call(int (*outer)(struct klpr_call *call), int (*inner)(struct klpr_call *call),
		    bool hold)
{
	struct klpr_call call = { .inner = inner, .hold = hold };
	int ret = -EAGAIN;

	atomic_inc(&klpr_in_flight);
	/* Either this sees the pause, or klpr_set_pause() sees the call. */
	smp_mb__after_atomic();
	if (!READ_ONCE(klpr_pause)) {
		atomic_long_inc(&klpr_calls);
		outer(&call);
		ret = 0;
	}
	atomic_dec(&klpr_in_flight);
	return ret;
}
EXPORT_SYMBOL_GPL(klpr_check_call);

static int klpr_wait_for_none(const atomic_t *count)
{
	unsigned long end = jiffies + 60 * HZ;

	while (atomic_read(count)) {
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		schedule_timeout_uninterruptible(1);
	}
	return 0;
}

/*
 * Let no call begin, and return when none is in progress: no task is in any
 * version, or on its way into one, whatever the core has done.
 */
static int klpr_set_pause(const char *val, const struct kernel_param *kp)
{
	bool pause;
	int ret = kstrtobool(val, &pause);

	if (ret)
		return ret;
	WRITE_ONCE(klpr_pause, pause);
	/* Pairs with the barrier in klpr_check_call(). */
	smp_mb();
	return pause ? klpr_wait_for_none(&klpr_in_flight) : 0;
}

static const struct kernel_param_ops klpr_pause_ops = { .set = klpr_set_pause };
module_param_cb(pause, &klpr_pause_ops, NULL, 0200);

/* Release the held tasks, and return when they have continued. */
static int klpr_set_release(const char *val, const struct kernel_param *kp)
{
	int ret;

	WRITE_ONCE(klpr_released, true);
	wake_up_all(&klpr_wait);
	ret = klpr_wait_for_none(&klpr_holders);
	WRITE_ONCE(klpr_released, false);
	return ret;
}

static const struct kernel_param_ops klpr_release_ops = { .set = klpr_set_release };
module_param_cb(release, &klpr_release_ops, NULL, 0200);

#define KLPR_COUNT(name, value)							\
	static int klpr_get_##name(char *buf, const struct kernel_param *kp)	\
	{									\
		return sysfs_emit(buf, "%ld\n", (long)(value));			\
	}									\
	static const struct kernel_param_ops klpr_##name##_ops = {		\
		.get = klpr_get_##name,						\
	};									\
	module_param_cb(name, &klpr_##name##_ops, NULL, 0444)

KLPR_COUNT(violations, atomic_read(&klpr_violations));
KLPR_COUNT(calls, atomic_long_read(&klpr_calls));
KLPR_COUNT(stalls, atomic_long_read(&klpr_stalls));
KLPR_COUNT(holders, atomic_read(&klpr_holders));
KLPR_COUNT(asked_unpatched, atomic_long_read(&klpr_asked[0]));
KLPR_COUNT(asked_patched, atomic_long_read(&klpr_asked[1]));

MODULE_DESCRIPTION("Livepatch test: a checker of the consistency model");
MODULE_LICENSE("GPL");
