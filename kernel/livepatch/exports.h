/* SPDX-License-Identifier: GPL-2.0 */
/* What the livepatch core in Rust and its parts in C have of each other. */
#ifndef _LIVEPATCH_EXPORTS_H
#define _LIVEPATCH_EXPORTS_H

/* In Rust: what is to be called at boot. */
void klp_core_init_early(void);
int klp_core_init(void);

/* In Rust: what __klp_sched_try_switch() does, for a frame of its own or of a caller. */
void klp_core_sched_try_switch(unsigned long frame);

/* In C, as modules are not to have it: tasklist_lock. */
void klp_tasklist_read_lock(void);
void klp_tasklist_read_unlock(void);

#endif /* _LIVEPATCH_EXPORTS_H */
