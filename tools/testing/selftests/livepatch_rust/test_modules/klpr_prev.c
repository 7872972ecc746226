// SPDX-License-Identifier: GPL-2.0
/*
 * A patch for klpr_target whose callback calls klp_get_prev_state(), or waits for
 * another task that does.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/stop_machine.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#define KLPR_ID 77

static char *how = "direct";
module_param(how, charp, 0444);
MODULE_PARM_DESC(how, "where the state is asked for: direct|spinlock|work|stop_machine");

static unsigned int found;
module_param(found, uint, 0444);
MODULE_PARM_DESC(found, "the version of the state that was there in time, or 0");

static struct klp_state klpr_states[] = {
	{
		.id = KLPR_ID,
		.version = 9,
	},
	{ }
};

static unsigned int klpr_prev_version(void)
{
	struct klp_state *state = klp_get_prev_state(KLPR_ID);

	if (!state || state == klpr_states || state->id != KLPR_ID)
		return 0;
	return state->version;
}

static DEFINE_SPINLOCK(klpr_lock);
static DECLARE_COMPLETION(klpr_done);
static unsigned int klpr_work_found;

static void klpr_work_fn(struct work_struct *work)
{
	klpr_work_found = klpr_prev_version();
	complete(&klpr_done);
}

static DECLARE_WORK(klpr_work, klpr_work_fn);

static int klpr_stopped(void *data)
{
	found = klpr_prev_version();
	return 0;
}

static int klpr_pre_patch(struct klp_object *obj)
{
	if (!strcmp(how, "direct")) {
		found = klpr_prev_version();
	} else if (!strcmp(how, "spinlock")) {
		spin_lock(&klpr_lock);
		found = klpr_prev_version();
		spin_unlock(&klpr_lock);
	} else if (!strcmp(how, "work")) {
		schedule_work(&klpr_work);
		/* Not forever: it may wait for a lock that the core holds. */
		if (wait_for_completion_timeout(&klpr_done, 5 * HZ))
			found = klpr_work_found;
		else
			pr_err("the work does not end\n");
	} else if (!strcmp(how, "stop_machine")) {
		return stop_machine(klpr_stopped, NULL, NULL);
	} else {
		return -EINVAL;
	}
	return 0;
}

static int klpr_one(void)
{
	return 701;
}

static struct klp_func klpr_funcs[] = {
	{
		.old_name = "klpr_target_one",
		.new_func = klpr_one,
	},
	{ }
};

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
	.states = klpr_states,
};

static int klpr_prev_init(void)
{
	int ret = klp_enable_patch(&klpr_patch);

	/* The core holds no lock here: a late work item can continue. */
	flush_work(&klpr_work);
	return ret;
}

static void klpr_prev_exit(void)
{
}

module_init(klpr_prev_init);
module_exit(klpr_prev_exit);
MODULE_DESCRIPTION("Livepatch test: who may ask for a previous state");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
