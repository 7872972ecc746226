// SPDX-License-Identifier: GPL-2.0

#include <linux/sched/task_stack.h>

__rust_helper bool rust_helper_try_get_task_stack(struct task_struct *task)
{
	return try_get_task_stack(task);
}

__rust_helper void rust_helper_put_task_stack(struct task_struct *task)
{
	put_task_stack(task);
}
