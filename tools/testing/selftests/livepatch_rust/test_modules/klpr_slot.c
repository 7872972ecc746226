// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks that are preempted in the kernel, and do not continue before they are
 * released: in a function, in the slot of an optimized kprobe in it, or in a part
 * of a function that is elsewhere. A task in a slot goes back to the function by
 * an instruction of the slot, a task in such a part by a jump. Neither has an
 * address in the function anywhere.
 *
 * A task uses up its runtime while it fills memory by one long instruction, or
 * counts.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/sysfs.h>
#include <linux/vmalloc.h>

#include "klpr_deadline.h"

#define KLPR_SIZE (4UL << 20)
#define KLPR_MAX 128

static bool klpr_released;
static struct task_struct *klpr_tasks[KLPR_MAX];
static atomic_t klpr_count;
static void *klpr_memory;

static bool probe;
module_param(probe, bool, 0444);

static bool cold;
module_param(cold, bool, 0444);

#ifdef CONFIG_X86_64
/*
 * Has room for the jump of an optimized kprobe at its long instruction, which has no
 * symbol: that would end the function.
 */
noinline void klpr_slot_fill(void *to, unsigned long size)
{
	asm volatile("rep stosb\n"
		     "	nop\n"
		     "	nop\n"
		     "	nop\n"
		     "	nop\n"
		     "	nop\n"
		     : "+D" (to), "+c" (size) : "a" (0) : "memory");
}

/* The long instruction. */
static kprobe_opcode_t *klpr_find(void)
{
	kprobe_opcode_t *code = (kprobe_opcode_t *)klpr_slot_fill;
	int i;

	for (i = 0; i < 64; i++)
		if (code[i] == 0xf3 && code[i + 1] == 0xaa)
			return code + i;
	return NULL;
}
#else
noinline void klpr_slot_fill(void *to, unsigned long size)
{
	while (size--)
		barrier();
}

static kprobe_opcode_t *klpr_find(void)
{
	return NULL;
}
#endif

/*
 * Continues elsewhere, and comes back, as functions do that the compiler has
 * split. Labels with names would end it. Stack traces use the symbol of the
 * byte before, so the loop is not at the very beginning.
 */
#define KLPR_COLD "klpr_split.cold"

noinline void klpr_split(unsigned long rounds)
{
#if defined(CONFIG_X86_64)
	asm volatile("	jmp " KLPR_COLD "\n"
		     "1:\n"
		     "	.pushsection .text.unlikely, \"ax\"\n"
		     "	.type " KLPR_COLD ", @function\n"
		     KLPR_COLD ":\n"
		     "	nop\n"
		     "2:	dec %0\n"
		     "	jnz 2b\n"
		     "	jmp 1b\n"
		     "	.size " KLPR_COLD ", . - " KLPR_COLD "\n"
		     "	.popsection\n"
		     : "+r" (rounds) : : "cc");
#elif defined(CONFIG_S390)
	asm volatile("	jg " KLPR_COLD "\n"
		     "1:\n"
		     "	.pushsection .text.unlikely, \"ax\"\n"
		     "	.type " KLPR_COLD ", @function\n"
		     KLPR_COLD ":\n"
		     "	bcr 0, %%r7\n"
		     "2:	brctg %0, 2b\n"
		     "	jg 1b\n"
		     "	.size " KLPR_COLD ", . - " KLPR_COLD "\n"
		     "	.popsection\n"
		     : "+d" (rounds));
#endif
}

static int klpr_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe klpr_kprobe = { .pre_handler = klpr_pre_handler };

static noinline int klpr_hold(void)
{
	int place = atomic_inc_return(&klpr_count) - 1;
	int ret;

	if (place >= KLPR_MAX)
		return -ENOSPC;
	WRITE_ONCE(klpr_tasks[place], get_task_struct(current));
	ret = klpr_limit(100 * NSEC_PER_MSEC);
	while (!ret && !READ_ONCE(klpr_released)) {
		if (cold)
			klpr_split(KLPR_SIZE);
		else
			klpr_slot_fill(klpr_memory, KLPR_SIZE);
	}
	return ret;
}

/* No parameter: reading one holds a lock that readers of others need. */
static ssize_t klpr_hold_show(const struct module_attribute *attr, struct module_kobject *mk,
			      char *buf)
{
	int ret = klpr_hold();

	return ret ? ret : sysfs_emit(buf, "released\n");
}

static struct module_attribute klpr_hold_attr = __ATTR(hold, 0400, klpr_hold_show, NULL);

static bool klpr_is_held(struct task_struct *task)
{
	return task && klpr_is_out(task);
}

/* How many tasks are held. */
static int klpr_get_held(char *buf, const struct kernel_param *kp)
{
	int i, held = 0;

	for (i = 0; i < KLPR_MAX; i++)
		held += klpr_is_held(READ_ONCE(klpr_tasks[i]));
	return sysfs_emit(buf, "%d\n", held);
}

static const struct kernel_param_ops klpr_held_ops = { .get = klpr_get_held };
module_param_cb(held, &klpr_held_ops, NULL, 0444);

#ifdef CONFIG_X86_64
/* All words of the first task's stack that may be addresses of code. */
static int klpr_get_words(char *buf, const struct kernel_param *kp)
{
	struct task_struct *task = READ_ONCE(klpr_tasks[0]);
	unsigned long *word, *end;
	int len = 0;

	if (!klpr_is_held(task))
		return -EINVAL;
	end = (unsigned long *)task_pt_regs(task);
	for (word = (unsigned long *)task->thread.sp; word < end; word++)
		if (*word >= __START_KERNEL_map)
			len += sysfs_emit_at(buf, len, "%lx\n", *word);
	return len;
}

static const struct kernel_param_ops klpr_words_ops = { .get = klpr_get_words };
module_param_cb(words, &klpr_words_ops, NULL, 0400);
#endif

static void klpr_release(void)
{
	int i;

	WRITE_ONCE(klpr_released, true);
	for (i = 0; i < KLPR_MAX; i++)
		if (klpr_tasks[i])
			klpr_unlimit(klpr_tasks[i]);
}

static int klpr_set_release(const char *val, const struct kernel_param *kp)
{
	klpr_release();
	return 0;
}

static const struct kernel_param_ops klpr_release_ops = { .set = klpr_set_release };
module_param_cb(release, &klpr_release_ops, NULL, 0200);

static int __init klpr_slot_init(void)
{
	int ret;

	klpr_memory = vmalloc(KLPR_SIZE);
	if (!klpr_memory)
		return -ENOMEM;
	if (probe) {
		klpr_kprobe.addr = klpr_find();
		ret = klpr_kprobe.addr ? register_kprobe(&klpr_kprobe) : -ENOENT;
		if (ret)
			goto free;
	}
	ret = sysfs_create_file(&THIS_MODULE->mkobj.kobj, &klpr_hold_attr.attr);
	if (!ret)
		return 0;
	if (probe)
		unregister_kprobe(&klpr_kprobe);
free:
	vfree(klpr_memory);
	return ret;
}

static void __exit klpr_slot_exit(void)
{
	int i;

	klpr_release();
	sysfs_remove_file(&THIS_MODULE->mkobj.kobj, &klpr_hold_attr.attr);
	if (probe)
		unregister_kprobe(&klpr_kprobe);
	for (i = 0; i < KLPR_MAX; i++)
		if (klpr_tasks[i])
			put_task_struct(klpr_tasks[i]);
	vfree(klpr_memory);
}

module_init(klpr_slot_init);
module_exit(klpr_slot_exit);
MODULE_DESCRIPTION("Livepatch test: tasks preempted in a function, a part of it, or a kprobe's slot");
MODULE_LICENSE("GPL");
