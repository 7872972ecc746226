/* SPDX-License-Identifier: GPL-2.0 */
/* What klpr_rust_more.rs takes from C. */
#include "klpr_target.h"

#define KLPR_MORE 5000
