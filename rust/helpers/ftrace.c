// SPDX-License-Identifier: GPL-2.0

#include <linux/ftrace.h>
#include <linux/trace_recursion.h>

/*
 * What runs in ftrace handlers, where helpers are not inlined: keep it out of
 * the tracer's reach.
 */

__rust_helper notrace int
rust_helper_ftrace_test_recursion_trylock(unsigned long ip, unsigned long parent_ip)
{
	return ftrace_test_recursion_trylock(ip, parent_ip);
}

__rust_helper notrace void rust_helper_ftrace_test_recursion_unlock(int bit)
{
	ftrace_test_recursion_unlock(bit);
}

__rust_helper notrace void
rust_helper_ftrace_regs_set_instruction_pointer(struct ftrace_regs *fregs, unsigned long ip)
{
	ftrace_regs_set_instruction_pointer(fregs, ip);
}

__rust_helper unsigned long rust_helper_ftrace_return_address(unsigned long ip)
{
	return ip + MCOUNT_INSN_SIZE;
}
