/* SPDX-License-Identifier: GPL-2.0 */
/* The end of a target, whose functions are known now. */

static noinline int bench_block(void (*inside)(void))
{
	inside();
	/* Keeps this from being a jump, so that it is on the stack. */
	barrier();
	return 0;
}

static const struct klp_bench_target bench_target = {
	.functions = bench_functions,
	.count = ARRAY_SIZE(bench_functions),
	.block = bench_block,
};

static int __init bench_target_init(void)
{
	klp_bench_set_target(&bench_target);
	return 0;
}

static void __exit bench_target_exit(void)
{
	klp_bench_set_target(NULL);
}

module_init(bench_target_init);
module_exit(bench_target_exit);
MODULE_DESCRIPTION("Livepatch benchmark: a module to be patched");
MODULE_LICENSE("GPL");
