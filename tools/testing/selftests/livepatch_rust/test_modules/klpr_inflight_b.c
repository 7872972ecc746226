// SPDX-License-Identifier: GPL-2.0
#define KLPR_BASE 200
#include "klpr_inflight_patch.h"
