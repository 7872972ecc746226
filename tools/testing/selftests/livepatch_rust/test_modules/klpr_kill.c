// SPDX-License-Identifier: GPL-2.0
/*
 * Has ftrace disable itself, as it does when it finds garbage where it patches
 * text. It stays so until the kernel is booted again.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kprobes.h>
#include <linux/module.h>

/* Not exported; a kprobe, which is never armed, knows where it is. */
static struct kprobe klpr_kprobe __initdata = {
	.symbol_name = "ftrace_kill",
	.flags = KPROBE_FLAG_DISABLED,
};

/* Nobody takes the address of ftrace_kill(): it may lack the hash that CFI checks. */
static int __init __nocfi klpr_kill_init(void)
{
	void (*kill)(void);
	int ret;

	ret = register_kprobe(&klpr_kprobe);
	if (ret)
		return ret;
	kill = (void (*)(void))klpr_kprobe.addr;
	unregister_kprobe(&klpr_kprobe);
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
