// SPDX-License-Identifier: GPL-2.0
/*
 * Other users that hook klpr_target_one(), or another function, at its entry,
 * by each available method. A parameter selects one; another has how often it
 * was called.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/fprobe.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/sysfs.h>

static char *how = "ftrace";
module_param(how, charp, 0444);

static char *func = "klpr_target_one";
module_param(func, charp, 0444);

static atomic_t klpr_hits;

static int klpr_get_hits(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&klpr_hits));
}

static const struct kernel_param_ops klpr_hits_ops = { .get = klpr_get_hits };
module_param_cb(hits, &klpr_hits_ops, NULL, 0444);

static void notrace klpr_ftrace_func(unsigned long ip, unsigned long parent_ip,
				     struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	atomic_inc(&klpr_hits);
}

static struct ftrace_ops klpr_ops = { .func = klpr_ftrace_func };

static int klpr_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	atomic_inc(&klpr_hits);
	return 0;
}

static void klpr_post_handler(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe klpr_kprobe = {
	.pre_handler = klpr_pre_handler,
};

static int klpr_return_handler(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	atomic_inc(&klpr_hits);
	return 0;
}

static struct kretprobe klpr_kretprobe = {
	.handler = klpr_return_handler,
};

#ifdef CONFIG_FPROBE
static int klpr_fprobe_entry(struct fprobe *fp, unsigned long entry_ip, unsigned long ret_ip,
			     struct ftrace_regs *regs, void *entry_data)
{
	atomic_inc(&klpr_hits);
	return 0;
}

static void klpr_fprobe_exit(struct fprobe *fp, unsigned long entry_ip, unsigned long ret_ip,
			     struct ftrace_regs *regs, void *entry_data)
{
	atomic_inc(&klpr_hits);
}

static struct fprobe klpr_fprobe;
#endif

#if defined(CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS) && defined(CONFIG_X86_64)
#define KLPR_DIRECT
asmlinkage void klpr_direct_tramp(void);
asmlinkage void klpr_direct_hit(void);

asmlinkage void notrace klpr_direct_hit(void)
{
	atomic_inc(&klpr_hits);
}

/* Saves the hooked function's arguments, calls the above, and returns there. */
asm("	.pushsection .text, \"ax\", @progbits\n"
"	.globl klpr_direct_tramp\n"
"	.type klpr_direct_tramp, @function\n"
"klpr_direct_tramp:\n"
	ASM_ENDBR
"	pushq %rbp\n"
"	movq %rsp, %rbp\n"
	CALL_DEPTH_ACCOUNT
"	pushq %rdi\n"
"	pushq %rsi\n"
"	pushq %rdx\n"
"	pushq %rcx\n"
"	pushq %r8\n"
"	pushq %r9\n"
"	pushq %rax\n"
"	call klpr_direct_hit\n"
"	popq %rax\n"
"	popq %r9\n"
"	popq %r8\n"
"	popq %rcx\n"
"	popq %rdx\n"
"	popq %rsi\n"
"	popq %rdi\n"
"	leave\n"
	ASM_RET
"	.size klpr_direct_tramp, .-klpr_direct_tramp\n"
"	.popsection\n"
);

/* As BPF does, whose trampolines can share a function with an IPMODIFY ops. */
static int klpr_share(struct ftrace_ops *ops, unsigned long ip, enum ftrace_ops_cmd cmd)
{
	return 0;
}

static struct ftrace_ops klpr_direct_ops;
#endif

static int __init klpr_hook_init(void)
{
	int ret;

	klpr_kprobe.symbol_name = func;
	klpr_kretprobe.kp.symbol_name = func;
	if (!strcmp(how, "ftrace")) {
		ret = ftrace_set_filter(&klpr_ops, func, strlen(func), 1);
		if (!ret)
			ret = register_ftrace_function(&klpr_ops);
		if (ret)
			ftrace_free_filter(&klpr_ops);
		return ret;
	}
	if (!strcmp(how, "kprobe"))
		return register_kprobe(&klpr_kprobe);
	if (!strcmp(how, "kprobe_post")) {
		klpr_kprobe.post_handler = klpr_post_handler;
		return register_kprobe(&klpr_kprobe);
	}
	if (!strcmp(how, "kretprobe"))
		return register_kretprobe(&klpr_kretprobe);
#ifdef CONFIG_FPROBE
	if (!strcmp(how, "fprobe")) {
		klpr_fprobe.entry_handler = klpr_fprobe_entry;
		return register_fprobe(&klpr_fprobe, func, NULL);
	}
	if (!strcmp(how, "fprobe_exit")) {
		klpr_fprobe.exit_handler = klpr_fprobe_exit;
		return register_fprobe(&klpr_fprobe, func, NULL);
	}
#endif
#ifdef KLPR_DIRECT
	if (!strcmp(how, "direct") || !strcmp(how, "direct_share")) {
		if (!strcmp(how, "direct_share"))
			klpr_direct_ops.ops_func = klpr_share;
		ret = ftrace_set_filter(&klpr_direct_ops, func, strlen(func), 1);
		if (!ret)
			ret = register_ftrace_direct(&klpr_direct_ops,
						     (unsigned long)klpr_direct_tramp);
		if (ret)
			ftrace_free_filter(&klpr_direct_ops);
		return ret;
	}
#endif
	return -EOPNOTSUPP;
}

static void __exit klpr_hook_exit(void)
{
	if (!strcmp(how, "ftrace")) {
		unregister_ftrace_function(&klpr_ops);
		ftrace_free_filter(&klpr_ops);
	} else if (!strcmp(how, "kprobe") || !strcmp(how, "kprobe_post")) {
		unregister_kprobe(&klpr_kprobe);
	} else if (!strcmp(how, "kretprobe")) {
		unregister_kretprobe(&klpr_kretprobe);
#ifdef CONFIG_FPROBE
	} else if (!strcmp(how, "fprobe") || !strcmp(how, "fprobe_exit")) {
		unregister_fprobe(&klpr_fprobe);
#endif
#ifdef KLPR_DIRECT
	} else {
		unregister_ftrace_direct(&klpr_direct_ops, (unsigned long)klpr_direct_tramp, true);
#endif
	}
}

module_init(klpr_hook_init);
module_exit(klpr_hook_exit);
MODULE_DESCRIPTION("Livepatch test: other users of a function's hook");
MODULE_LICENSE("GPL");
