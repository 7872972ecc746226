// SPDX-License-Identifier: GPL-2.0
#include "klpr_check_patch.h"
