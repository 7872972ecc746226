// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: leave out parts of the core, to show what they are for.
 *
 * livepatch.skip_exit_hook=Y: the exit hook only clears the flag, as if the
 * hook did not exist.
 *
 * livepatch.skip_hook_ranges=Y: transitions that start from now on do not see
 * tasks that the ftrace handler has sent to a function that they have not
 * reached yet. Such a task may run freed code: for machines that may crash.
 *
 * livepatch.skip_hidden_returns=Y, livepatch.skip_generated_code=Y: a stack
 * that cannot be scanned, because a tracer keeps its return addresses elsewhere
 * or it has an address in generated code, is taken to be clear. Tasks may run
 * freed code with these, too.
 */

#include <linux/jump_label.h>
#include <linux/kstrtox.h>
#include <linux/livepatch_hooks.h>
#include <linux/moduleparam.h>
#include <linux/sysfs.h>

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "livepatch."

DEFINE_STATIC_KEY_FALSE(klp_test_skip_exit_hook);

static int klp_set_skip_exit_hook(const char *val, const struct kernel_param *kp)
{
	bool skip;
	int ret = kstrtobool(val, &skip);

	if (ret)
		return ret;
	if (skip)
		static_branch_enable(&klp_test_skip_exit_hook);
	else
		static_branch_disable(&klp_test_skip_exit_hook);
	return 0;
}

static int klp_get_skip_exit_hook(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%c\n", static_key_enabled(&klp_test_skip_exit_hook) ? 'Y' : 'N');
}

static const struct kernel_param_ops klp_skip_exit_hook_ops = {
	.set = klp_set_skip_exit_hook,
	.get = klp_get_skip_exit_hook,
};
module_param_cb(skip_exit_hook, &klp_skip_exit_hook_ops, NULL, 0600);

bool klp_test_skip_hook_ranges;
module_param_named(skip_hook_ranges, klp_test_skip_hook_ranges, bool, 0600);

bool klp_test_skip_hidden_returns;
module_param_named(skip_hidden_returns, klp_test_skip_hidden_returns, bool, 0600);

bool klp_test_skip_generated_code;
module_param_named(skip_generated_code, klp_test_skip_generated_code, bool, 0600);
