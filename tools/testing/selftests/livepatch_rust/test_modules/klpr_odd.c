// SPDX-License-Identifier: GPL-2.0
/*
 * A patch whose replacement for klpr_target_one() is at an odd address, where
 * compilers that optimise for size may place functions. The other is aligned.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/annotate.h>
#include <linux/linkage.h>
#include <linux/livepatch.h>
#include <linux/module.h>

#include "klpr_target.h"

#ifdef CONFIG_X86_64
asmlinkage int klpr_odd(void);

/*
 * Returns 901. A jump that lands one byte early takes the last byte of the nop
 * together with the first four that follow for one instruction:
 *
 *	b8 31 c0 66 90		movl $0x9066c031, %eax
 *
 * and then continues as usual, so that the result is a different number.
 */
asm("	.pushsection .text, \"ax\", @progbits\n"
"	.balign 16\n"
"	.byte 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0xb8\n"	/* nopl -0x48000000(%rax) */
"	.globl klpr_odd\n"
"	.type klpr_odd, @function\n"
"klpr_odd:\n"
	ANNOTATE_NOENDBR
"	.byte 0x31, 0xc0\n"					/* xorl %eax, %eax */
"	.byte 0x66, 0x90\n"					/* nop */
"	addl $901, %eax\n"
	ASM_RET
"	.size klpr_odd, .-klpr_odd\n"
"	.popsection\n"
);

static int klpr_even(void)
{
	return klpr_number(902);
}

static struct klp_func klpr_funcs[] = {
	{
		.old_name = "klpr_target_one",
		.new_func = klpr_odd,
	},
	{
		.old_name = "klpr_target_two",
		.new_func = klpr_even,
	},
	{ }
};

static struct klp_object klpr_objs[] = {
	{
		.name = "klpr_target",
		.funcs = klpr_funcs,
	},
	{ }
};

static struct klp_patch klpr_patch = {
	.mod = THIS_MODULE,
	.objs = klpr_objs,
};

static int klpr_odd_init(void)
{
	unsigned long addr = (unsigned long)klpr_odd;

	/* Compilers assume that a function is aligned. */
	OPTIMIZER_HIDE_VAR(addr);
	if (!(addr & 1)) {
		pr_err("the replacement is at an even address\n");
		return -ENOEXEC;
	}
	return klp_enable_patch(&klpr_patch);
}
#else
static int klpr_odd_init(void)
{
	return -EOPNOTSUPP;
}
#endif

static void klpr_odd_exit(void)
{
}

module_init(klpr_odd_init);
module_exit(klpr_odd_exit);
MODULE_DESCRIPTION("Livepatch test: a replacement at an odd address");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
