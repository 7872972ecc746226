/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/compiler.h>

/* A number that the compiler does not know, so that calls are not left out. */
static inline int klpr_number(int number)
{
	OPTIMIZER_HIDE_VAR(number);
	return number;
}

int klpr_target_one(void);
int klpr_target_two(void);
int klpr_target_notrace(void);
int klpr_target_sleep(void);
int klpr_target_sleep_hard(void);
int klpr_target_other_dup(void);
