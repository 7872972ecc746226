// SPDX-License-Identifier: GPL-2.0
/*
 * Makes ftrace disable itself, as it does when it finds unexpected code where
 * it patches text. It stays disabled until the kernel is booted again.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/moduleparam.h>

/* Not exported; the address from /proc/kallsyms. */
static unsigned long ftrace_kill_addr;
module_param_named(ftrace_kill, ftrace_kill_addr, ulong, 0);

/* The kernel never takes its address: it may lack the hash that CFI checks. */
static int __init __nocfi klpr_kill_init(void)
{
	void (*kill)(void) = (void *)ftrace_kill_addr;

	if (!kill)
		return -EINVAL;
	kill();
	pr_info("ftrace is disabled\n");
	return 0;
}

static void __exit klpr_kill_exit(void)
{
}

module_init(klpr_kill_init);
module_exit(klpr_kill_exit);
MODULE_DESCRIPTION("Livepatch test: ftrace disables itself");
MODULE_LICENSE("GPL");
