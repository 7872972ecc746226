// SPDX-License-Identifier: GPL-2.0
#define KLPR_BASE 300
#include "klpr_patch.h"
