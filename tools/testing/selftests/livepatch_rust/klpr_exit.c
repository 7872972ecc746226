// SPDX-License-Identifier: GPL-2.0
/*
 * A process with a thread that is called "klpr_exit" and exits at once. No task
 * waits for such a thread: the kernel reaps it while it exits. The process runs
 * until it is killed.
 */

#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

static void *thread(void *arg)
{
	prctl(PR_SET_NAME, "klpr_exit");
	return arg;
}

int main(void)
{
	pthread_t id;

	if (pthread_create(&id, NULL, thread, NULL))
		return 1;
	for (;;)
		pause();
}
