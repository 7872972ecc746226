// SPDX-License-Identifier: GPL-2.0
/*
 * Direct ops on klpr_target_one() and klpr_target_two() that can share a
 * function with an IPMODIFY ops, as those of BPF can, and record the last
 * command of ftrace: whether they share their function with such an ops. Also
 * kprobes on both that are such a user; all of these have one ops.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#if defined(CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS) && defined(CONFIG_X86_64)

static int refuse_from;
module_param(refuse_from, int, 0644);
MODULE_PARM_DESC(refuse_from, "refuse to share from this time on that it is asked for; 0: never");

static int error = -EBUSY;
module_param(error, int, 0644);

static int klpr_asked;

static int klpr_set_asked(const char *val, const struct kernel_param *kp)
{
	klpr_asked = 0;
	return 0;
}

/* How often sharing was asked for, since this was written to. */
static const struct kernel_param_ops klpr_asked_ops = {
	.set = klpr_set_asked,
	.get = param_get_int,
};
module_param_cb(asked, &klpr_asked_ops, &klpr_asked, 0644);

asmlinkage void klpr_share_tramp(void);

/* Does nothing, so it need not know which function is called. */
asm("	.pushsection .text, \"ax\", @progbits\n"
"	.globl klpr_share_tramp\n"
"	.type klpr_share_tramp, @function\n"
"klpr_share_tramp:\n"
	ASM_ENDBR
	ASM_RET
"	.size klpr_share_tramp, .-klpr_share_tramp\n"
"	.popsection\n"
);

/* ftrace calls this with its direct_mutex held. */
static int klpr_share(struct ftrace_ops *ops, unsigned long ip, enum ftrace_ops_cmd cmd);

static struct {
	const char *func;
	bool shared;
	bool registered;
	bool probed;
	struct ftrace_ops ops;
	struct kprobe kprobe;
} klpr_hooks[] = {
	{ .func = "klpr_target_one", .ops.ops_func = klpr_share },
	{ .func = "klpr_target_two", .ops.ops_func = klpr_share },
};

static int klpr_share(struct ftrace_ops *ops, unsigned long ip, enum ftrace_ops_cmd cmd)
{
	bool enable = cmd != FTRACE_OPS_CMD_DISABLE_SHARE_IPMODIFY_PEER;
	int i;

	if (enable && ++klpr_asked >= refuse_from && refuse_from)
		return error;

	for (i = 0; i < ARRAY_SIZE(klpr_hooks); i++) {
		if (ops == &klpr_hooks[i].ops)
			WRITE_ONCE(klpr_hooks[i].shared, enable);
	}
	return 0;
}

static int klpr_get_shared(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d %d\n", READ_ONCE(klpr_hooks[0].shared),
			  READ_ONCE(klpr_hooks[1].shared));
}

/* Of either function, in this order. */
static const struct kernel_param_ops klpr_shared_ops = { .get = klpr_get_shared };
module_param_cb(shared, &klpr_shared_ops, NULL, 0444);

static void klpr_post_handler(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

/* Which functions have a kprobe: "0 0" to "1 1", as above. */
static int klpr_set_probed(const char *val, const struct kernel_param *kp)
{
	int want[ARRAY_SIZE(klpr_hooks)];
	int i, ret;

	if (sscanf(val, "%d %d", &want[0], &want[1]) != 2)
		return -EINVAL;

	for (i = 0; i < ARRAY_SIZE(klpr_hooks); i++) {
		if (klpr_hooks[i].probed && !want[i]) {
			unregister_kprobe(&klpr_hooks[i].kprobe);
			klpr_hooks[i].probed = false;
		}
	}
	for (i = 0; i < ARRAY_SIZE(klpr_hooks); i++) {
		if (klpr_hooks[i].probed || !want[i])
			continue;
		memset(&klpr_hooks[i].kprobe, 0, sizeof(klpr_hooks[i].kprobe));
		klpr_hooks[i].kprobe.symbol_name = klpr_hooks[i].func;
		klpr_hooks[i].kprobe.post_handler = klpr_post_handler;
		ret = register_kprobe(&klpr_hooks[i].kprobe);
		if (ret)
			return ret;
		klpr_hooks[i].probed = true;
	}
	return 0;
}

static const struct kernel_param_ops klpr_probed_ops = { .set = klpr_set_probed };
module_param_cb(probed, &klpr_probed_ops, NULL, 0200);

static void klpr_share_exit(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(klpr_hooks); i++) {
		if (klpr_hooks[i].probed)
			unregister_kprobe(&klpr_hooks[i].kprobe);
		if (klpr_hooks[i].registered)
			unregister_ftrace_direct(&klpr_hooks[i].ops,
						 (unsigned long)klpr_share_tramp, true);
		else
			ftrace_free_filter(&klpr_hooks[i].ops);
	}
}

static int klpr_share_init(void)
{
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(klpr_hooks); i++) {
		ret = ftrace_set_filter(&klpr_hooks[i].ops, (unsigned char *)klpr_hooks[i].func,
					strlen(klpr_hooks[i].func), 1);
		if (!ret)
			ret = register_ftrace_direct(&klpr_hooks[i].ops,
						     (unsigned long)klpr_share_tramp);
		if (ret) {
			klpr_share_exit();
			return ret;
		}
		klpr_hooks[i].registered = true;
	}
	return 0;
}
#else
static int klpr_share_init(void)
{
	return -EOPNOTSUPP;
}

static void klpr_share_exit(void)
{
}
#endif

module_init(klpr_share_init);
module_exit(klpr_share_exit);
MODULE_DESCRIPTION("Livepatch test: direct calls that share their functions");
MODULE_LICENSE("GPL");
