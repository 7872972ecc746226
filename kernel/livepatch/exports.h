/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LIVEPATCH_EXPORTS_H
#define _LIVEPATCH_EXPORTS_H

/* In Rust: what is to be called at boot. */
void klp_core_init_early(void);
int klp_core_init(void);

#endif /* _LIVEPATCH_EXPORTS_H */
