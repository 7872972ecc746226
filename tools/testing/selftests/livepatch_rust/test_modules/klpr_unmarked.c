// SPDX-License-Identifier: GPL-2.0
/* Calls klp_enable_patch() without being marked as a livepatch. */
#define KLPR_BASE 400
#define KLPR_UNMARKED
#include "klpr_patch.h"
