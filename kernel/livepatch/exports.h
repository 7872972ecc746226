/* SPDX-License-Identifier: GPL-2.0 */
/* What the Rust core and its parts in C provide to each other. */
#ifndef _LIVEPATCH_EXPORTS_H
#define _LIVEPATCH_EXPORTS_H

/* In Rust: called at boot. */
void klp_core_init_early(void);
int klp_core_init(void);

/* In Rust: __klp_sched_try_switch() for a frame, its own or a caller's. */
void klp_core_sched_try_switch(unsigned long frame);

/* In C, as modules must not use it: tasklist_lock. */
void klp_tasklist_read_lock(void);
void klp_tasklist_read_unlock(void);

#endif /* _LIVEPATCH_EXPORTS_H */
