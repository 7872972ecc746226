/* SPDX-License-Identifier: GPL-2.0 */
/* The beginning of a patch; its functions follow. */
#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "klp_bench.h"

struct bench_replacement {
	const char *name;
	int (*function)(int x);
};
