// SPDX-License-Identifier: GPL-2.0

#include <linux/preempt.h>

/* For ftrace handlers, too: notrace where helpers are not inlined. */

__rust_helper notrace void rust_helper_preempt_disable_notrace(void)
{
	preempt_disable_notrace();
}

__rust_helper notrace void rust_helper_preempt_enable_notrace(void)
{
	preempt_enable_notrace();
}
