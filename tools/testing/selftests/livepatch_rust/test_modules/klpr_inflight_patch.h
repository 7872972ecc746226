/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A patch for klpr_inflight and vmlinux, of the functions that a parameter names.
 * KLPR_BASE is added to what the replaced functions return.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/livepatch.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "klpr_inflight.h"

static char *what = "";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "functions to patch: one, two, start, block, tail, cmdline, exit");

static bool replace;
module_param(replace, bool, 0444);

static int klpr_new_one(void)
{
	return KLPR_BASE + 1;
}

static int klpr_new_two(void)
{
	return KLPR_BASE + 2;
}

static int klpr_new_start(void)
{
	return -EOPNOTSUPP;
}

static void klpr_new_block(void)
{
	klpr_inflight_wait();
	barrier();
}

/*
 * A replacement that ends in a call of another function of this module, which
 * compilers turn into a jump: the replacement is not on the stack then.
 */
static noinline void klpr_new_wait(void)
{
	klpr_inflight_wait();
	barrier();
}

static void klpr_new_tail(void)
{
	klpr_new_wait();
}

static int klpr_new_cmdline(struct seq_file *m, void *v)
{
	seq_printf(m, "klpr %d\n", KLPR_BASE);
	return 0;
}

/*
 * For exit_task_stack_account(): does the same, as no task calls the original
 * while this replaces it, and sleeps if the caller is an exiting klpr_exit.
 */
static void klpr_new_exit(struct task_struct *task)
{
	if (task == current && !strcmp(task->comm, "klpr_exit"))
		klpr_inflight_sleep();

#ifndef CONFIG_MEMCG
#ifdef CONFIG_VMAP_STACK
	struct vm_struct *area = task_stack_vm_area(task);

	for (int i = 0; i < THREAD_SIZE / PAGE_SIZE; i++)
		mod_lruvec_page_state(area->pages[i], NR_KERNEL_STACK_KB, -(int)(PAGE_SIZE / 1024));
#else
	mod_lruvec_kmem_state(task_stack_page(task), NR_KERNEL_STACK_KB,
			      -(int)(THREAD_SIZE / 1024));
#endif
#endif
}

static const struct klpr_choice {
	const char *name;
	const char *object;
	const char *old_name;
	void *new_func;
} klpr_choices[] = {
	{ "one", "klpr_inflight", "klpr_inflight_one", klpr_new_one },
	{ "two", "klpr_inflight", "klpr_inflight_two", klpr_new_two },
	{ "start", "klpr_inflight", "klpr_inflight_start", klpr_new_start },
	{ "block", "klpr_inflight", "klpr_inflight_block", klpr_new_block },
	{ "tail", "klpr_inflight", "klpr_inflight_block", klpr_new_tail },
	{ "cmdline", NULL, "cmdline_proc_show", klpr_new_cmdline },
	{ "exit", NULL, "exit_task_stack_account", klpr_new_exit },
};

static struct klp_func klpr_module_funcs[ARRAY_SIZE(klpr_choices) + 1];
static struct klp_func klpr_vmlinux_funcs[ARRAY_SIZE(klpr_choices) + 1];
static struct klp_object klpr_objs[3];
static struct klp_patch klpr_patch = {
	.mod = THIS_MODULE,
	.objs = klpr_objs,
};

static int __init klpr_patch_init(void)
{
	struct klp_func *module_func = klpr_module_funcs;
	struct klp_func *vmlinux_func = klpr_vmlinux_funcs;
	struct klp_object *obj = klpr_objs;

	/* The replacement could not return what the original does. */
	if (IS_ENABLED(CONFIG_MEMCG) && strstr(what, "exit"))
		return -EOPNOTSUPP;

	for (int i = 0; i < ARRAY_SIZE(klpr_choices); i++) {
		const struct klpr_choice *choice = &klpr_choices[i];
		struct klp_func *func;

		if (!strstr(what, choice->name))
			continue;
		func = choice->object ? module_func++ : vmlinux_func++;
		func->old_name = choice->old_name;
		func->new_func = choice->new_func;
	}
	if (module_func != klpr_module_funcs) {
		obj->name = "klpr_inflight";
		obj->funcs = klpr_module_funcs;
		obj++;
	}
	if (vmlinux_func != klpr_vmlinux_funcs)
		obj->funcs = klpr_vmlinux_funcs;
	klpr_patch.replace = replace;
	return klp_enable_patch(&klpr_patch);
}

static void __exit klpr_patch_exit(void)
{
}

module_init(klpr_patch_init);
module_exit(klpr_patch_exit);
MODULE_DESCRIPTION("Livepatch test: a patch for functions that tasks are on their way into");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
