/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A good or bad patch for klpr_target. Parameters select which, so that few
 * modules serve many tests. KLPR_BASE is added to what the replaced
 * functions return.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

static char *what = "good";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "which patch, see klpr_describe()");

static bool replace;
module_param(replace, bool, 0444);

static int pre_patch_ret;
module_param(pre_patch_ret, int, 0644);

static unsigned int state_version;
module_param(state_version, uint, 0444);

static int fail_nth;
module_param(fail_nth, int, 0444);
MODULE_PARM_DESC(fail_nth, "have this allocation of klp_enable_patch() fail");

static int klpr_one(void)
{
	return KLPR_BASE + 1;
}

static int klpr_two(void)
{
	return KLPR_BASE + 2;
}

static int klpr_sleep(void)
{
	return 0;
}

/* A replacement that sleeps until it is released. */
static DECLARE_WAIT_QUEUE_HEAD(klpr_wait);
static bool klpr_released;
static atomic_t klpr_sleepers;

static int klpr_sleep_new(void)
{
	atomic_inc(&klpr_sleepers);
	wait_event(klpr_wait, READ_ONCE(klpr_released));
	atomic_dec(&klpr_sleepers);
	return 0;
}

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

/* For the caller of the function that sleeps. */
static ssize_t klpr_sleep_hard_show(const struct module_attribute *attr,
				    struct module_kobject *mk, char *buf)
{
	return sysfs_emit(buf, "%d\n", KLPR_BASE);
}

/* For a function that spins until it is released. */
static void klpr_spin(void)
{
}

/* For a function in which a task is held. */
static void klpr_slot_fill(void *to, unsigned long size)
{
	cpu_relax();
}

static void klpr_split(unsigned long rounds)
{
	cpu_relax();
}

static int klpr_cmdline(struct seq_file *m, void *v)
{
	seq_printf(m, "klpr %d\n", KLPR_BASE);
	return 0;
}

static char klpr_long_name[KSYM_NAME_LEN + 1];

static struct klp_func klpr_funcs[8];
static struct klp_func klpr_vmlinux_funcs[2];
static struct klp_object klpr_objs[3];
static struct klp_state klpr_states[2];
static struct klp_patch klpr_patch;

static int klpr_pre_patch(struct klp_object *obj)
{
	return pre_patch_ret;
}

/*
 * More functions of one module than are searched for one by one, two of the same
 * name among them. The last one may be bad.
 */
static bool klpr_describe_all(struct klp_func *func)
{
	func[1].old_name = "klpr_target_dup";
	func[1].old_sympos = 2;
	func[1].new_func = klpr_two;
	func[2].old_name = "klpr_target_two";
	func[2].new_func = klpr_two;
	func[3].old_name = "klpr_target_dup";
	func[3].old_sympos = 1;
	func[3].new_func = klpr_one;
	func[4].old_name = "klpr_target_sleep";
	func[4].new_func = klpr_sleep;
	func[5].old_name = "klpr_target_sleep_hard";
	func[5].new_func = klpr_sleep;
	if (!strcmp(what, "all"))
		return true;
	func[6].new_func = klpr_sleep;
	func[6].old_name = "klpr_spin";
	if (!strcmp(what, "all_unknown"))
		func[6].old_name = "klpr_no_such_function";
	else if (!strcmp(what, "all_notrace"))
		func[6].old_name = "klpr_target_notrace";
	else if (!strcmp(what, "all_dup"))
		func[3].old_sympos = 0;
	else if (!strcmp(what, "all_dup3"))
		func[3].old_sympos = 3;
	else
		return false;
	return true;
}

/* Returns false for an unknown name. */
static bool klpr_describe(void)
{
	struct klp_func *func = klpr_funcs;
	struct klp_object *obj = klpr_objs;

	klpr_patch.mod = THIS_MODULE;
	klpr_patch.objs = klpr_objs;
	klpr_patch.replace = replace;
	if (state_version) {
		klpr_states[0].id = 77;
		klpr_states[0].version = state_version;
		klpr_patch.states = klpr_states;
	}
	obj->name = "klpr_target";
	obj->funcs = klpr_funcs;
	obj->callbacks.pre_patch = klpr_pre_patch;
	func->old_name = "klpr_target_one";
	func->new_func = klpr_one;

	if (!strcmp(what, "good") || !strcmp(what, "twice"))
		return true;
	if (!strcmp(what, "two")) {
		func[1].old_name = "klpr_target_two";
		func[1].new_func = klpr_two;
		return true;
	}
	if (!strcmp(what, "only_two")) {
		func->old_name = "klpr_target_two";
		func->new_func = klpr_two;
		return true;
	}
	if (!strcmp(what, "both")) {
		/* A module and vmlinux. */
		obj[1].funcs = klpr_vmlinux_funcs;
		klpr_vmlinux_funcs[0].old_name = "cmdline_proc_show";
		klpr_vmlinux_funcs[0].new_func = klpr_cmdline;
		return true;
	}
	if (!strcmp(what, "vmlinux")) {
		obj->name = NULL;
		obj->callbacks.pre_patch = NULL;
		func->old_name = "cmdline_proc_show";
		func->new_func = klpr_cmdline;
		return true;
	}
	if (!strcmp(what, "sleep")) {
		func->old_name = "klpr_target_sleep";
		func->new_func = klpr_sleep;
		return true;
	}
	if (!strcmp(what, "sleep_hard")) {
		func->old_name = "klpr_target_sleep_hard";
		func->new_func = klpr_sleep;
		return true;
	}
	if (!strcmp(what, "sleep_new")) {
		func->old_name = "klpr_target_sleep_hard";
		func->new_func = klpr_sleep_new;
		return true;
	}
	if (!strcmp(what, "sleep_caller")) {
		func->old_name = "klpr_sleep_hard_show";
		func->new_func = klpr_sleep_hard_show;
		return true;
	}
	if (!strcmp(what, "spin") || !strcmp(what, "spin_both")) {
		func[1].old_name = "klpr_spin";
		func[1].new_func = klpr_spin;
		if (!strcmp(what, "spin"))
			return true;
		obj[1].funcs = klpr_vmlinux_funcs;
		klpr_vmlinux_funcs[0].old_name = "cmdline_proc_show";
		klpr_vmlinux_funcs[0].new_func = klpr_cmdline;
		return true;
	}
	if (!strcmp(what, "slot")) {
		obj->name = "klpr_slot";
		func->old_name = "klpr_slot_fill";
		func->new_func = klpr_slot_fill;
		return true;
	}
	if (!strcmp(what, "split")) {
		obj->name = "klpr_slot";
		func->old_name = "klpr_split";
		func->new_func = klpr_split;
		return true;
	}
	if (!strcmp(what, "no_mod")) {
		klpr_patch.mod = NULL;
		return true;
	}
	if (!strcmp(what, "no_objs")) {
		klpr_patch.objs = NULL;
		return true;
	}
	if (!strcmp(what, "no_funcs")) {
		obj->funcs = NULL;
		return true;
	}
	if (!strcmp(what, "no_name")) {
		func->old_name = NULL;
		return true;
	}
	if (!strcmp(what, "no_new_func")) {
		func->new_func = NULL;
		return true;
	}
	if (!strcmp(what, "unknown")) {
		func->old_name = "klpr_no_such_function";
		return true;
	}
	if (!strcmp(what, "unknown_last")) {
		func[1].old_name = "klpr_target_two";
		func[1].new_func = klpr_two;
		func[2].old_name = "klpr_no_such_function";
		func[2].new_func = klpr_two;
		return true;
	}
	if (!strcmp(what, "dup")) {
		func->old_name = "klpr_target_dup";
		return true;
	}
	if (!strcmp(what, "dup2")) {
		func->old_name = "klpr_target_dup";
		func->old_sympos = 2;
		return true;
	}
	if (!strcmp(what, "dup3")) {
		func->old_name = "klpr_target_dup";
		func->old_sympos = 3;
		return true;
	}
	if (!strncmp(what, "all", 3))
		return klpr_describe_all(func);
	if (!strcmp(what, "notrace")) {
		func[1].old_name = "klpr_target_notrace";
		func[1].new_func = klpr_two;
		return true;
	}
	if (!strcmp(what, "long_name")) {
		memset(klpr_long_name, 'x', KSYM_NAME_LEN);
		func->old_name = klpr_long_name;
		return true;
	}
	if (!strcmp(what, "long_object")) {
		memset(klpr_long_name, 'x', MODULE_NAME_LEN);
		obj->name = klpr_long_name;
		return true;
	}
	if (!strcmp(what, "same_func")) {
		func[1] = func[0];
		return true;
	}
	return false;
}

static int klpr_patch_init(void)
{
	int ret;

	if (!klpr_describe()) {
		pr_err("what=%s is unknown\n", what);
		return -ENOKEY;
	}
#ifdef CONFIG_FAULT_INJECTION
	if (fail_nth)
		current->fail_nth = fail_nth;
#endif
	ret = klp_enable_patch(&klpr_patch);
#ifdef CONFIG_FAULT_INJECTION
	if (fail_nth) {
		bool failed = !current->fail_nth;

		current->fail_nth = 0;
		pr_info("allocation %d %s, ret %d\n", fail_nth,
			failed ? "failed" : "was not reached", ret);
	}
#endif
	if (!ret && !strcmp(what, "twice"))
		pr_info("second time: %d\n", klp_enable_patch(&klpr_patch));
	return ret;
}

static void klpr_patch_exit(void)
{
}

module_init(klpr_patch_init);
module_exit(klpr_patch_exit);
MODULE_DESCRIPTION("Livepatch test: a patch, good or bad");
MODULE_LICENSE("GPL");
#ifndef KLPR_UNMARKED
MODULE_INFO(livepatch, "Y");
#endif
