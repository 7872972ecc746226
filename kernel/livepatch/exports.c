// SPDX-License-Identifier: GPL-2.0
/*
 * What the Rust core needs in C: exported symbols, a static key, a weak
 * function, the address of a frame, a lock, the calls at boot, and types for
 * debuggers.
 */

#include <linux/btf.h>
#include <linux/compiler.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/livepatch.h>
#include <linux/livepatch_sched.h>
#include <linux/moduleloader.h>
#include <linux/sched/task.h>

#include "exports.h"

/* On during a transition: makes the scheduler call __klp_sched_try_switch(). */
DEFINE_STATIC_KEY_FALSE(klp_sched_try_switch_key);

/* Called by the scheduler. */
void __klp_sched_try_switch(void)
{
	klp_core_sched_try_switch((unsigned long)__builtin_frame_address(0));
	/* No tail call: the frame must stay. */
	barrier();
}

void klp_tasklist_read_lock(void)
{
	read_lock(&tasklist_lock);
}

void klp_tasklist_read_unlock(void)
{
	read_unlock(&tasklist_lock);
}

EXPORT_SYMBOL_GPL(klp_enable_patch);
EXPORT_SYMBOL_GPL(klp_find_section_by_name);
EXPORT_SYMBOL_GPL(klp_get_prev_state);
EXPORT_SYMBOL_GPL(klp_get_state);
EXPORT_SYMBOL_GPL(klp_shadow_alloc);
EXPORT_SYMBOL_GPL(klp_shadow_free);
EXPORT_SYMBOL_GPL(klp_shadow_free_all);
EXPORT_SYMBOL_GPL(klp_shadow_get);
EXPORT_SYMBOL_GPL(klp_shadow_get_or_alloc);

/* For architectures that can apply their relocations again without this. */
void __weak clear_relocate_add(Elf_Shdr *sechdrs, const char *strtab,
			       unsigned int symindex, unsigned int relsec,
			       struct module *me)
{
}

static int __init klp_init_early(void)
{
	klp_core_init_early();
	return 0;
}
early_initcall(klp_init_early);

static int __init klp_init(void)
{
	/* Debuggers do not read the types of Rust. */
	BTF_TYPE_EMIT(struct klp_patch);
	BTF_TYPE_EMIT(struct klp_object);
	BTF_TYPE_EMIT(struct klp_func);

	return klp_core_init();
}
module_init(klp_init);
