// SPDX-License-Identifier: GPL-2.0
/* The second function of this name. */

#include <linux/compiler.h>

#include "klpr_target.h"

static noinline int klpr_target_dup(void)
{
	return klpr_number(30);
}

int klpr_target_other_dup(void)
{
	return klpr_target_dup();
}
