/* SPDX-License-Identifier: GPL-2.0 */
int klpr_inflight_one(void);
int klpr_inflight_two(void);
int klpr_inflight_start(void);
void klpr_inflight_block(void);
void klpr_inflight_wait(void);
void klpr_inflight_sleep(void);
