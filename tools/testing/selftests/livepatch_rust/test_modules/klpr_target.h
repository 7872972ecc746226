/* SPDX-License-Identifier: GPL-2.0 */
int klpr_target_one(void);
int klpr_target_two(void);
int klpr_target_notrace(void);
int klpr_target_sleep(void);
int klpr_target_sleep_hard(void);
int klpr_target_other_dup(void);
