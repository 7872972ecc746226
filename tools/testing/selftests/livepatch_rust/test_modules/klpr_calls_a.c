// SPDX-License-Identifier: GPL-2.0
/* A patch of system calls. */

#define KLPR_REPLACE false
#include "klpr_calls.h"
