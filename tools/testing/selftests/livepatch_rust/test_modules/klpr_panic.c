// SPDX-License-Identifier: GPL-2.0
/* A patch with which no machine stays up: it panics when all tasks have switched. */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/seq_file.h>

static int klpr_cmdline(struct seq_file *m, void *v)
{
	seq_puts(m, "klpr_panic\n");
	return 0;
}

static void klpr_post_patch(struct klp_object *obj)
{
	panic("a bad patch");
}

static struct klp_func klpr_funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = klpr_cmdline },
	{ }
};

static struct klp_object klpr_objs[] = {
	{ .funcs = klpr_funcs, .callbacks.post_patch = klpr_post_patch },
	{ }
};

static struct klp_patch klpr_patch = {
	.mod = THIS_MODULE,
	.objs = klpr_objs,
};

static int __init klpr_panic_init(void)
{
	return klp_enable_patch(&klpr_patch);
}

static void __exit klpr_panic_exit(void)
{
}

module_init(klpr_panic_init);
module_exit(klpr_panic_exit);
MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("Livepatch test: a patch that panics");
MODULE_LICENSE("GPL");
