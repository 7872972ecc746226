// SPDX-License-Identifier: GPL-2.0
/*
 * A patch for klpr_target with a replacement that ends in a sibling call of
 * another function that the patch replaces, and that sleeps. The first one has
 * no frame then, and the second one returns to where the first one would have
 * returned to.
 */

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(klpr_wait);
static bool klpr_released;
static atomic_t klpr_sleepers;

/* Replaces klpr_target_sleep(). */
static int klpr_second(void)
{
	atomic_inc(&klpr_sleepers);
	wait_event(klpr_wait, READ_ONCE(klpr_released));
	atomic_dec(&klpr_sleepers);
	return 0;
}

/* klpr_target_sleep() itself, so that the call is redirected. Read by assembly. */
static int (*klpr_target)(void) __used;

/* Replaces klpr_target_sleep_hard(). */
#if defined(CONFIG_PPC64) && !defined(CONFIG_PPC_KERNEL_PCREL)
/*
 * Compilers make no sibling call of a function that may have another TOC. Here
 * it does no harm: livepatch_handler, which calls this by its global entry,
 * restores the caller's r2.
 */
int klpr_first(void);
asm(".pushsection .text, \"ax\"\n"
	".p2align 2\n"
	".type klpr_first, @function\n"
	"klpr_first:\n"
	"0: addis 2, 12, (.TOC. - 0b)@ha\n"
	"addi 2, 2, (.TOC. - 0b)@l\n"
	".localentry klpr_first, . - klpr_first\n"
	"addis 12, 2, klpr_target@toc@ha\n"
	"ld 12, klpr_target@toc@l(12)\n"
	"mtctr 12\n"
	"bctr\n"
	".size klpr_first, . - klpr_first\n"
	".popsection\n");
#else
static int klpr_first(void)
{
	return READ_ONCE(klpr_target)();
}
#endif

static int klpr_set_release(const char *val, const struct kernel_param *kp)
{
	WRITE_ONCE(klpr_released, true);
	wake_up_all(&klpr_wait);
	return 0;
}

static const struct kernel_param_ops klpr_release_ops = { .set = klpr_set_release };
module_param_cb(release, &klpr_release_ops, NULL, 0200);

static int klpr_get_sleepers(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&klpr_sleepers));
}

static const struct kernel_param_ops klpr_sleepers_ops = { .get = klpr_get_sleepers };
module_param_cb(sleepers, &klpr_sleepers_ops, NULL, 0444);

static struct klp_func klpr_funcs[] = {
	{ .old_name = "klpr_target_sleep", .new_func = klpr_second, },
	{ .old_name = "klpr_target_sleep_hard", .new_func = klpr_first, },
	{ }
};

/* The core knows where the function is. No call is redirected yet. */
static int klpr_pre_patch(struct klp_object *obj)
{
	WRITE_ONCE(klpr_target, obj->funcs[0].old_func);
	return 0;
}

static struct klp_object klpr_objs[] = {
	{
		.name = "klpr_target",
		.funcs = klpr_funcs,
		.callbacks.pre_patch = klpr_pre_patch,
	},
	{ }
};

static struct klp_patch klpr_patch = {
	.mod = THIS_MODULE,
	.objs = klpr_objs,
};

static int klpr_sibling_init(void)
{
	return klp_enable_patch(&klpr_patch);
}

static void klpr_sibling_exit(void)
{
}

module_init(klpr_sibling_init);
module_exit(klpr_sibling_exit);
MODULE_DESCRIPTION("Livepatch test: a replacement that ends in a sibling call");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
