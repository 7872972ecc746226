/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A patch for klpr_check_target, built three times, so that patches can be
 * stacked and replaced.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bits.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "klpr_check.h"

static unsigned int funcs = BIT(KLPR_OUTER) | BIT(KLPR_INNER);
module_param(funcs, uint, 0444);
MODULE_PARM_DESC(funcs, "which functions it replaces: 1 outer, 2 inner, 3 both");

static bool replace;
module_param(replace, bool, 0444);

/* A number for each time that the module is loaded. */
static int klpr_version __ro_after_init;

static int klpr_outer(struct klpr_call *call)
{
	return klpr_run_outer(call, klpr_version);
}

static int klpr_inner(struct klpr_call *call)
{
	return klpr_run_inner(call, klpr_version);
}

/* In vmlinux, which is always loaded: the callbacks are called each time. */
static int klpr_cmdline(struct seq_file *m, void *v)
{
	seq_printf(m, "klpr %d\n", klpr_version);
	return 0;
}

static int klpr_pre_patch(struct klp_object *obj)
{
	return klpr_check_begin(klpr_version, funcs, replace);
}

static void klpr_post_patch(struct klp_object *obj)
{
	klpr_check_end(klpr_version, true);
}

static void klpr_pre_unpatch(struct klp_object *obj)
{
	klpr_check_begin(klpr_version, funcs, replace);
}

static void klpr_post_unpatch(struct klp_object *obj)
{
	klpr_check_end(klpr_version, false);
}

static struct klp_func klpr_vmlinux_funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = klpr_cmdline },
	{ }
};

static struct klp_func klpr_target_funcs[3];

/* vmlinux first: its callbacks are called before anything of the target changes. */
static struct klp_object klpr_objs[] = {
	{
		.funcs = klpr_vmlinux_funcs,
		.callbacks = {
			.pre_patch = klpr_pre_patch,
			.post_patch = klpr_post_patch,
			.pre_unpatch = klpr_pre_unpatch,
			.post_unpatch = klpr_post_unpatch,
		},
	},
	{ .name = "klpr_check_target", .funcs = klpr_target_funcs },
	{ }
};

static struct klp_patch klpr_patch = { .mod = THIS_MODULE, .objs = klpr_objs };

static int __init klpr_patch_init(void)
{
	struct klp_func *func = klpr_target_funcs;

	if (!funcs || funcs & ~(BIT(KLPR_OUTER) | BIT(KLPR_INNER)))
		return -EINVAL;
	klpr_version = klpr_check_new_version();
	klpr_patch.replace = replace;
	if (funcs & BIT(KLPR_OUTER)) {
		func->old_name = "klpr_check_outer";
		func->new_func = klpr_outer;
		func++;
	}
	if (funcs & BIT(KLPR_INNER)) {
		func->old_name = "klpr_check_inner";
		func->new_func = klpr_inner;
	}
	return klp_enable_patch(&klpr_patch);
}

static void __exit klpr_patch_exit(void)
{
}

module_init(klpr_patch_init);
module_exit(klpr_patch_exit);
MODULE_DESCRIPTION("Livepatch test: a patch of functions that are checked");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
