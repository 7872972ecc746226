// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that make, find and free the same few shadow variables at once. Each
 * construction must have one destruction, and a variable that is found must be
 * constructed.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#define THREADS	4
#define VARS	8
#define ID	0x5eed
#define MAGIC	0xc0ffee

static int rounds = 20000;
module_param(rounds, int, 0444);

static int objects[VARS];
static atomic_t made, freed, bad, done;

static int ctor(void *obj, void *data, void *ctor_data)
{
	*(unsigned long *)data = MAGIC;
	atomic_inc(&made);
	return 0;
}

static void dtor(void *obj, void *data)
{
	if (*(unsigned long *)data != MAGIC)
		atomic_inc(&bad);
	atomic_inc(&freed);
}

static int worker(void *arg)
{
	unsigned long number = (unsigned long)arg;
	int i;

	for (i = 0; i < rounds; i++) {
		void *obj = &objects[(i * 7 + number) % VARS];
		unsigned long *data;

		switch ((i + number) % 4) {
		case 0:
			klp_shadow_free(obj, ID, dtor);
			break;
		case 1:
			rcu_read_lock();
			data = klp_shadow_get(obj, ID);
			if (data && *data != MAGIC)
				atomic_inc(&bad);
			rcu_read_unlock();
			break;
		default:
			rcu_read_lock();
			data = klp_shadow_get_or_alloc(obj, ID, sizeof(*data), GFP_ATOMIC,
						       ctor, NULL);
			if (data && *data != MAGIC)
				atomic_inc(&bad);
			rcu_read_unlock();
		}
		if (!(i % 64))
			cond_resched();
	}
	atomic_inc(&done);
	return 0;
}

static int __init klpr_shadow_init(void)
{
	unsigned long i;

	for (i = 0; i < THREADS; i++) {
		struct task_struct *task = kthread_run(worker, (void *)i, "klpr_shadow/%lu", i);

		if (IS_ERR(task))
			atomic_inc(&done);
	}
	while (atomic_read(&done) < THREADS)
		msleep(20);
	/* From here on the threads use this module only to return. */
	msleep(100);
	klp_shadow_free_all(ID, dtor);
	rcu_barrier();
	pr_info("made %s, bad %d\n", atomic_read(&made) == atomic_read(&freed) &&
		atomic_read(&made) > VARS ? "as many as freed" : "and freed differ",
		atomic_read(&bad));
	return 0;
}

static void __exit klpr_shadow_exit(void)
{
}

module_init(klpr_shadow_init);
module_exit(klpr_shadow_exit);
MODULE_DESCRIPTION("Livepatch test: shadow variables and threads");
MODULE_LICENSE("GPL");
