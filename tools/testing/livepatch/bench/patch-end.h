/* SPDX-License-Identifier: GPL-2.0 */
/* The end of a patch, whose functions are known now. */

static unsigned int funcs = 1;
module_param(funcs, uint, 0444);
MODULE_PARM_DESC(funcs, "how many functions to replace");

static unsigned int first;
module_param(first, uint, 0444);
MODULE_PARM_DESC(first, "the first of them");

static char *object = "bench_t1k";
module_param(object, charp, 0444);
MODULE_PARM_DESC(object, "the module that has them");

static bool replace;
module_param(replace, bool, 0444);
MODULE_PARM_DESC(replace, "replace all other patches");

static bool block;
module_param(block, bool, 0444);
MODULE_PARM_DESC(block, "replace the function in which a thread waits, too");

static noinline int bench_block_new(void (*inside)(void))
{
	inside();
	barrier();
	return 0;
}

static struct klp_func *bench_funcs;
static struct klp_object bench_objects[2];
static struct klp_patch bench_patch = {
	.mod = THIS_MODULE,
	.objs = bench_objects,
};

static int __init bench_patch_init(void)
{
	unsigned int i;
	int ret;

	if (!funcs || first > ARRAY_SIZE(bench_replacements) ||
	    funcs > ARRAY_SIZE(bench_replacements) - first)
		return -EINVAL;

	bench_funcs = kvcalloc(funcs + 2, sizeof(*bench_funcs), GFP_KERNEL);
	if (!bench_funcs)
		return -ENOMEM;
	for (i = 0; i < funcs; i++) {
		bench_funcs[i].old_name = bench_replacements[first + i].name;
		bench_funcs[i].new_func = bench_replacements[first + i].function;
	}
	if (block) {
		bench_funcs[i].old_name = "bench_block";
		bench_funcs[i].new_func = bench_block_new;
	}
	bench_objects[0].name = object;
	bench_objects[0].funcs = bench_funcs;
	bench_patch.replace = replace;

	klp_bench_mark("call");
	ret = klp_enable_patch(&bench_patch);
	klp_bench_mark("return");
	if (ret)
		kvfree(bench_funcs);
	return ret;
}

static void __exit bench_patch_exit(void)
{
	kvfree(bench_funcs);
}

module_init(bench_patch_init);
module_exit(bench_patch_exit);
MODULE_DESCRIPTION("Livepatch benchmark: a patch of any size");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
