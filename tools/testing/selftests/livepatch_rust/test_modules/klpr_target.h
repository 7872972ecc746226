/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/compiler.h>
#include <linux/types.h>

/* A number unknown to the compiler, so that it does not remove calls. */
static inline int klpr_number(int number)
{
	OPTIMIZER_HIDE_VAR(number);
	return number;
}

int klpr_target_one(void);
int klpr_target_two(void);
int klpr_target_notrace(void);
long klpr_target_many(int a, int b, int c, int d, int e, int f, int g, int h, long i, int j);
int klpr_target_sleep(void);
int klpr_target_sleep_hard(void);
int klpr_target_other_dup(void);

/* No header of the kernel has these. */
enum klpr_sign {
	KLPR_PLUS,
	KLPR_MINUS,
};

struct klpr_numbers {
	short first;
	enum klpr_sign sign;
	struct list_head *unused;
	long rest[2];
};

long klpr_target_sum(const struct klpr_numbers *numbers);
