/* SPDX-License-Identifier: GPL-2.0 */
/* What the benchmark's targets and patches use of klp_bench.ko. */
#ifndef KLP_BENCH_H
#define KLP_BENCH_H

#include <linux/types.h>

/* A module to be patched. */
struct klp_bench_target {
	int (*const *functions)(int x);
	unsigned int count;
	/* Calls @inside, and is a function that patches can replace. */
	int (*block)(void (*inside)(void));
};

/* Puts a time stamp into the log of events. */
void klp_bench_mark(const char *text);

/* There is one target at a time; NULL says that there is none any more. */
void klp_bench_set_target(const struct klp_bench_target *target);

#endif
