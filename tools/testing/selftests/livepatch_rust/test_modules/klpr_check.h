/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The checker, see klpr_check.c, and the functions that it checks. Every version of
 * them, the original and those of the patches, does the same, with a number of its
 * own.
 */
#ifndef KLPR_CHECK_H
#define KLPR_CHECK_H

#include <linux/compiler.h>
#include <linux/types.h>

enum klpr_func { KLPR_OUTER, KLPR_INNER };

/* A call of outer(), which calls inner(). On the caller's stack. */
struct klpr_call {
	int (*inner)(struct klpr_call *call);
	/* The versions that are running now, by enum klpr_func. */
	int version[2];
	/* Whether inner() sleeps until it is released; it does so once. */
	bool hold;
	/* Whether a violation was counted. */
	bool violated;
};

/* The number of the original functions. */
#define KLPR_ORIGINAL 0

int klpr_check_call(int (*outer)(struct klpr_call *call), int (*inner)(struct klpr_call *call),
		    bool hold);
void klpr_check_at(struct klpr_call *call, enum klpr_func func, const char *where);
void klpr_check_work(struct klpr_call *call);
void klpr_check_stall(unsigned int one_in);

int klpr_check_new_version(void);
int klpr_check_begin(int version, unsigned int funcs, bool replace);
void klpr_check_end(int version, bool patched);

/* What each version does. The versions themselves are not inlined. */
static __always_inline int klpr_run_outer(struct klpr_call *call, int version)
{
	int ret;

	call->version[KLPR_OUTER] = version;
	klpr_check_at(call, KLPR_OUTER, "enters");
	ret = call->inner(call);
	klpr_check_at(call, KLPR_OUTER, "goes on in");
	ret += call->inner(call);
	klpr_check_at(call, KLPR_OUTER, "leaves");
	return ret;
}

static __always_inline int klpr_run_inner(struct klpr_call *call, int version)
{
	call->version[KLPR_INNER] = version;
	klpr_check_at(call, KLPR_INNER, "enters");
	klpr_check_at(call, KLPR_OUTER, "has called from");
	klpr_check_work(call);
	klpr_check_at(call, KLPR_INNER, "leaves");
	return version;
}

/* The functions that are patched. */
int klpr_check_outer(struct klpr_call *call);
int klpr_check_inner(struct klpr_call *call);

#endif
