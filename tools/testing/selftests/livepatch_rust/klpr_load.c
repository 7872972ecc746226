// SPDX-License-Identifier: GPL-2.0
/*
 * Load for the checker of the consistency model: "klpr_load FILE" reads FILE, which
 * calls the functions that are checked, from tasks of many kinds, until it is killed.
 * "klpr_load FILE once" reads it once.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Storms have precedence over callers, and what tests do over both. */
#define NICE_CALLER	19
#define NICE_STORM	10
#define CALLERS_PER_CPU	3
#define THREADS		4

static const char *file;

static void nap(long us)
{
	struct timespec t = { .tv_nsec = us * 1000 };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* The target is loaded and unloaded, and calls pause now and then. */
static int call(int fd)
{
	char buf[64];

	if (fd < 0)
		fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		nap(2000);
		return -1;
	}
	if (pread(fd, buf, sizeof(buf), 0) >= 0)
		return fd;
	nap(1000);
	if (errno == EAGAIN)
		return fd;
	close(fd);
	return -1;
}

static void call_once(void)
{
	int fd = call(-1);

	if (fd >= 0)
		close(fd);
}

static void caller(int cpu)
{
	int fd = -1;

	for (;;)
		fd = call(fd);
}

/* Wakes up now and then and preempts what runs on the CPU. */
static void fifo(int cpu)
{
	struct sched_param param = { .sched_priority = 10 };
	struct timespec start, now;
	unsigned int seed = cpu + 1;
	long spin;
	cpu_set_t set;
	int i;

	if (sched_setscheduler(0, SCHED_FIFO, &param)) {
		perror("sched_setscheduler");
		exit(1);
	}
	for (i = 0;; i++) {
		/* Again, as the CPU may have been offline. */
		if (i % 100 == 0) {
			CPU_ZERO(&set);
			CPU_SET(cpu, &set);
			sched_setaffinity(0, sizeof(set), &set);
		}
		nap(1000 + rand_r(&seed) % 5000);
		spin = rand_r(&seed) % 300 * 1000;
		clock_gettime(CLOCK_MONOTONIC, &start);
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while ((now.tv_sec - start.tv_sec) * 1000000000L +
		       now.tv_nsec - start.tv_nsec < spin);
	}
}

static void fork_storm(int cpu)
{
	int i;

	for (;;) {
		for (i = 0; i < 4; i++) {
			if (!fork()) {
				call_once();
				_exit(0);
			}
		}
		while (wait(NULL) > 0)
			;
	}
}

static void *exec_once(void *arg)
{
	execl("/proc/self/exe", "klpr_load", file, "once", (char *)NULL);
	_exit(1);
}

/* Every second exec is made by a thread, which becomes the leader. */
static void exec_storm(int cpu)
{
	pthread_t thread;
	int i;

	for (i = 0;; i++) {
		if (!fork()) {
			if (i % 2 && !pthread_create(&thread, NULL, exec_once, NULL))
				for (;;)
					call_once();
			exec_once(NULL);
		}
		while (wait(NULL) > 0)
			;
	}
}

static void *thread_once(void *arg)
{
	call_once();
	return NULL;
}

/* Threads that no task waits for when they have exited. */
static void thread_storm(int cpu)
{
	pthread_t threads[THREADS];
	int i, n;

	for (;;) {
		for (n = 0; n < THREADS; n++)
			if (pthread_create(&threads[n], NULL, thread_once, NULL))
				break;
		for (i = 0; i < n; i++)
			pthread_join(threads[i], NULL);
	}
}

static void start(void (*fn)(int cpu), int cpu, int nice)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpriority(PRIO_PROCESS, 0, nice);
	fn(cpu);
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	int cpu, i;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE [once]\n", argv[0]);
		return 2;
	}
	file = argv[1];
	if (argc == 3 && !strcmp(argv[2], "once")) {
		call_once();
		return 0;
	}
	for (cpu = 0; cpu < cpus; cpu++) {
		for (i = 0; i < CALLERS_PER_CPU; i++)
			start(caller, cpu, NICE_CALLER);
		start(fifo, cpu, 0);
	}
	start(fork_storm, 0, NICE_STORM);
	start(exec_storm, 0, NICE_STORM);
	start(thread_storm, 0, NICE_STORM);
	/* If one of them ends, it has failed. */
	wait(NULL);
	return 1;
}
