// SPDX-License-Identifier: GPL-2.0
/*
 * A task for the tests: "klpr_task spin" runs in user mode and calls nothing,
 * "klpr_task syscall" only makes system calls.
 */

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "spin")) {
		for (;;)
			__asm__ volatile("" : : : "memory");
	}
	if (argc == 2 && !strcmp(argv[1], "syscall")) {
		for (;;)
			syscall(SYS_getppid);
	}
	fprintf(stderr, "usage: %s spin|syscall\n", argv[0]);
	return 2;
}
