/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A patch of system calls that servers make all the time, and sleep in. The
 * replacements do the same as the kernel's own, and count. They call functions
 * that the kernel does not export, of which kprobes know the addresses.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/ptrace.h>
#include <linux/socket.h>
#include <linux/syscalls.h>
#include <linux/sysfs.h>

static DEFINE_PER_CPU(unsigned long, klpr_count);

static int klpr_get_calls(char *buf, const struct kernel_param *kp)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu(klpr_count, cpu);
	return sysfs_emit(buf, "%lu\n", sum);
}

static const struct kernel_param_ops klpr_calls_ops = { .get = klpr_get_calls };
module_param_cb(calls, &klpr_calls_ops, NULL, 0444);

/* Of the types that the kernel declares. */
static typeof(ksys_read) *klpr_read;
static typeof(ksys_write) *klpr_write;
static typeof(ksys_pread64) *klpr_pread;
static typeof(ksys_pwrite64) *klpr_pwrite;
static typeof(do_sys_open) *klpr_open;
static typeof(__sys_sendto) *klpr_sendto;
static typeof(__sys_recvfrom) *klpr_recvfrom;

static long klpr_new_read(const struct pt_regs *r)
{
	this_cpu_inc(klpr_count);
	return klpr_read(r->di, (char __user *)r->si, r->dx);
}

static long klpr_new_write(const struct pt_regs *r)
{
	this_cpu_inc(klpr_count);
	return klpr_write(r->di, (const char __user *)r->si, r->dx);
}

static long klpr_new_pread(const struct pt_regs *r)
{
	this_cpu_inc(klpr_count);
	return klpr_pread(r->di, (char __user *)r->si, r->dx, r->r10);
}

static long klpr_new_pwrite(const struct pt_regs *r)
{
	this_cpu_inc(klpr_count);
	return klpr_pwrite(r->di, (const char __user *)r->si, r->dx, r->r10);
}

static long klpr_new_openat(const struct pt_regs *r)
{
	this_cpu_inc(klpr_count);
	return klpr_open(r->di, (const char __user *)r->si,
			 r->dx | (force_o_largefile() ? O_LARGEFILE : 0), r->r10);
}

static long klpr_new_sendto(const struct pt_regs *r)
{
	this_cpu_inc(klpr_count);
	return klpr_sendto(r->di, (void __user *)r->si, r->dx, r->r10,
			   (struct sockaddr __user *)r->r8, r->r9);
}

static long klpr_new_recvfrom(const struct pt_regs *r)
{
	this_cpu_inc(klpr_count);
	return klpr_recvfrom(r->di, (void __user *)r->si, r->dx, r->r10,
			     (struct sockaddr __user *)r->r8, (int __user *)r->r9);
}

static const struct {
	const char *name;
	void *function;
} klpr_called[] = {
	{ "ksys_read", &klpr_read },
	{ "ksys_write", &klpr_write },
	{ "ksys_pread64", &klpr_pread },
	{ "ksys_pwrite64", &klpr_pwrite },
	{ "do_sys_open", &klpr_open },
	{ "__sys_sendto", &klpr_sendto },
	{ "__sys_recvfrom", &klpr_recvfrom },
};

static struct klp_func klpr_funcs[] = {
	{ .old_name = "__x64_sys_read", .new_func = klpr_new_read },
	{ .old_name = "__x64_sys_write", .new_func = klpr_new_write },
	{ .old_name = "__x64_sys_pread64", .new_func = klpr_new_pread },
	{ .old_name = "__x64_sys_pwrite64", .new_func = klpr_new_pwrite },
	{ .old_name = "__x64_sys_openat", .new_func = klpr_new_openat },
	{ .old_name = "__x64_sys_sendto", .new_func = klpr_new_sendto },
	{ .old_name = "__x64_sys_recvfrom", .new_func = klpr_new_recvfrom },
	{ }
};

static struct klp_object klpr_objs[] = {
	{ .funcs = klpr_funcs },
	{ }
};

static struct klp_patch klpr_patch = {
	.mod = THIS_MODULE,
	.objs = klpr_objs,
	.replace = KLPR_REPLACE,
};

static int __init klpr_calls_init(void)
{
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(klpr_called); i++) {
		struct kprobe kp = { .symbol_name = klpr_called[i].name };

		ret = register_kprobe(&kp);
		if (ret) {
			pr_err("no function %s\n", klpr_called[i].name);
			return ret;
		}
		/* The kprobe may be after an endbr; functions are aligned. */
		*(unsigned long *)klpr_called[i].function = ALIGN_DOWN((unsigned long)kp.addr, 16);
		unregister_kprobe(&kp);
	}
	return klp_enable_patch(&klpr_patch);
}

static void __exit klpr_calls_exit(void)
{
}

module_init(klpr_calls_init);
module_exit(klpr_calls_exit);
MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("Livepatch test: patch of system calls that servers make");
MODULE_LICENSE("GPL");
