// SPDX-License-Identifier: GPL-2.0
/*
 * A kprobe at the entry of klpr_target_one(). With a post handler, ftrace does
 * not allow it to share a function with a livepatch.
 */

#include <linux/kprobes.h>
#include <linux/module.h>

static bool post = true;
module_param(post, bool, 0444);

static int klpr_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	return 0;
}

static void klpr_post_handler(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe klpr_kprobe = {
	.symbol_name = "klpr_target_one",
	.pre_handler = klpr_pre_handler,
};

static int __init klpr_kprobe_init(void)
{
	if (post)
		klpr_kprobe.post_handler = klpr_post_handler;
	return register_kprobe(&klpr_kprobe);
}

static void __exit klpr_kprobe_exit(void)
{
	unregister_kprobe(&klpr_kprobe);
}

module_init(klpr_kprobe_init);
module_exit(klpr_kprobe_exit);
MODULE_DESCRIPTION("Livepatch test: a kprobe");
MODULE_LICENSE("GPL");
