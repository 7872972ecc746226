/* SPDX-License-Identifier: GPL-2.0 */
/* The beginning of a target; its functions follow. */
#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/module.h>

#include "klp_bench.h"
