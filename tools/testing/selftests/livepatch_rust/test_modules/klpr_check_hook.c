// SPDX-License-Identifier: GPL-2.0
/*
 * Probes of the functions in klpr_check_target, as long as this is loaded. They
 * need the target, which cannot be unloaded before them.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fprobe.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>

#include "klpr_check.h"

int klpr_check_outer(struct klpr_call *call);

static char *how = "kprobe";
module_param(how, charp, 0444);

static int klpr_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	return 0;
}

static int klpr_return_handler(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe klpr_kprobe = { .pre_handler = klpr_pre_handler };
static struct kretprobe klpr_kretprobe = { .handler = klpr_return_handler };

#ifdef CONFIG_FPROBE
static int klpr_fprobe_entry(struct fprobe *fp, unsigned long entry_ip, unsigned long ret_ip,
			     struct ftrace_regs *regs, void *entry_data)
{
	return 0;
}

static void klpr_fprobe_exit(struct fprobe *fp, unsigned long entry_ip, unsigned long ret_ip,
			     struct ftrace_regs *regs, void *entry_data)
{
}

static struct fprobe klpr_fprobe = {
	.entry_handler = klpr_fprobe_entry,
	.exit_handler = klpr_fprobe_exit,
};
#endif

/* Makes the module depend on the target. */
static void *klpr_target = klpr_check_outer;

static int __init klpr_check_hook_init(void)
{
	if (!READ_ONCE(klpr_target))
		return -ENOENT;
	if (!strcmp(how, "kprobe")) {
		klpr_kprobe.symbol_name = "klpr_check_outer";
		return register_kprobe(&klpr_kprobe);
	}
	if (!strcmp(how, "kretprobe")) {
		klpr_kretprobe.kp.symbol_name = "klpr_check_inner";
		return register_kretprobe(&klpr_kretprobe);
	}
#ifdef CONFIG_FPROBE
	if (!strcmp(how, "fprobe"))
		return register_fprobe(&klpr_fprobe, "klpr_check_outer", NULL);
#endif
	return -EOPNOTSUPP;
}

static void __exit klpr_check_hook_exit(void)
{
	if (!strcmp(how, "kprobe"))
		unregister_kprobe(&klpr_kprobe);
	else if (!strcmp(how, "kretprobe"))
		unregister_kretprobe(&klpr_kretprobe);
#ifdef CONFIG_FPROBE
	else
		unregister_fprobe(&klpr_fprobe);
#endif
}

module_init(klpr_check_hook_init);
module_exit(klpr_check_hook_exit);
MODULE_DESCRIPTION("Livepatch test: probes of functions that are checked");
MODULE_LICENSE("GPL");
