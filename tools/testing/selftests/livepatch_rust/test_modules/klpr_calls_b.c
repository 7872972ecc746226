// SPDX-License-Identifier: GPL-2.0
/* The same, which replaces all others. */

#define KLPR_REPLACE true
#include "klpr_calls.h"
