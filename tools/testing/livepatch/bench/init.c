// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark's only program: the first process of a guest, and all of its
 * load. It runs the steps that the variable "bench" of the kernel's command line
 * names, writes what they have found to the console, and ends the guest.
 *
 * Times are those of the clock that klp_bench takes, which counts instructions.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#define __printf(a, b) __attribute__((__format__(printf, a, b)))
#define __noreturn __attribute__((__noreturn__))

#define LIVEPATCH "/sys/kernel/livepatch"
#define TRACING "/sys/kernel/tracing"

static FILE *console;
static const char *step = "start";
static int nr_threads;
static int nr_results;

static void end(void)
{
	fflush(console);
	/* What has not been sent to the console yet is lost otherwise. */
	tcdrain(fileno(console));
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

__printf(1, 2) static __noreturn void fail(const char *format, ...)
{
	va_list args;

	fprintf(console, "@fail %s: ", step);
	va_start(args, format);
	vfprintf(console, format, args);
	va_end(args);
	fprintf(console, "\n");
	end();
	__builtin_unreachable();
}

/* Reports a figure. The host adds which core and how many CPUs it is for. */
static void report(const char *kind, const char *metric, int funcs, double value, const char *unit)
{
	fprintf(console, "@result %s %s %d %d %.10g %s\n", kind, metric, funcs, nr_threads, value,
		unit);
	fflush(console);
	nr_results++;
}

static uint64_t now(void)
{
#ifdef __x86_64__
	unsigned int cpu;

	return __rdtscp(&cpu);
#else
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
#endif
}

static void sleep_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		fail("open %s: %s", path, strerror(errno));
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fail("write \"%s\" to %s: %s", text, path, strerror(errno));
	close(fd);
}

static char text[1 << 16];

static void read_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	size_t len = 0;
	ssize_t got;

	if (fd < 0)
		fail("open %s: %s", path, strerror(errno));
	while ((got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += got;
	text[len] = '\0';
	close(fd);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("no CPU %d", cpu);
}

/* The module klp_bench. */

__printf(1, 2) static void command(const char *format, ...)
{
	char line[64];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	write_file("/proc/klp_bench", line);
}

static uint64_t last_result(void)
{
	uint64_t value;

	read_file("/proc/klp_bench");
	if (sscanf(text, "result %lu", &value) != 1)
		fail("no result");
	return value;
}

/* The time of the first event, after @since, whose text has @wanted in it. */
static uint64_t time_of(const char *wanted, uint64_t since)
{
	uint64_t time;
	char *line, *state;

	read_file("/proc/klp_bench");
	for (line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		if (sscanf(line, "event %lu", &time) == 1 && time >= since && strstr(line, wanted))
			return time;
	fail("no event: %s", wanted);
}

/* Checks that so many functions return what version @version of them does. */
static void expect_patched(int version, uint64_t wanted)
{
	command("patched %d", version);
	if (last_result() != wanted)
		fail("%lu functions have version %d, not %lu", last_result(), version, wanted);
}

/* Modules. */

static uint64_t load(const char *module, const char *parameters)
{
	uint64_t start;
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/%s.ko", module);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		fail("open %s: %s", path, strerror(errno));
	start = now();
	ret = syscall(SYS_finit_module, fd, parameters, 0);
	start = now() - start;
	if (ret)
		fail("loading %s %s: %s", module, parameters, strerror(errno));
	close(fd);
	return start;
}

static void unload(const char *module)
{
	int i;

	for (i = 0; i < 1000; i++) {
		if (!syscall(SYS_delete_module, module, O_NONBLOCK))
			return;
		if (errno != EWOULDBLOCK && errno != EBUSY)
			break;
		sleep_ms(10);
	}
	fail("unloading %s: %s", module, strerror(errno));
}

static const char *loaded;

static void need_target(const char *target)
{
	if (loaded && target && !strcmp(loaded, target))
		return;
	if (loaded)
		unload(loaded);
	if (target)
		load(target, "");
	loaded = target;
}

/* Enables a patch, and returns when its transition is complete. */
__printf(2, 3) static void enable(const char *patch, const char *format, ...)
{
	char parameters[128];
	va_list args;

	va_start(args, format);
	vsnprintf(parameters, sizeof(parameters), format, args);
	va_end(args);
	command("clear");
	load(patch, parameters);
	command("wait '%s': patching complete", patch);
}

static uint64_t start_disable(const char *patch)
{
	uint64_t start;
	char path[64];

	snprintf(path, sizeof(path), LIVEPATCH "/%s/enabled", patch);
	command("clear");
	start = now();
	write_file(path, "0");
	return start;
}

/* Disables a patch, returns when it is gone, and unloads it. */
static uint64_t disable(const char *patch)
{
	uint64_t start = start_disable(patch), took;

	command("wait put: %s", patch);
	took = time_of("put: ", start) - start;
	unload(patch);
	return took;
}

/* Sleeping threads. */

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return arg;
}

#define PER_PROCESS 1000

static void spawn_sleepers(int count)
{
	pthread_attr_t attr;
	pthread_t thread;
	int i;

	if (fork())
		return;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	for (i = 1; i < count; i++)
		if (pthread_create(&thread, &attr, sleeper, NULL))
			fail("thread %d: %s", i, strerror(errno));
	sleeper(NULL);
}

static void run_threads(int wanted)
{
	while (nr_threads < wanted) {
		int count = wanted - nr_threads;

		if (count > PER_PROCESS)
			count = PER_PROCESS;
		spawn_sleepers(count);
		nr_threads += count;
	}
	/* Until all of them sleep. */
	sleep_ms(3000);
}

/* The steps. */

/* The mean of what some rounds of a step have taken. */
struct mean {
	const char *kind;
	const char *metric;
	double sum;
};

/*
 * Enables and disables a patch, several times if that is quick: what is quick
 * waits for a tick or a grace period most of the time, and how long that takes
 * depends on when it starts.
 */
static void step_life(int funcs, bool both)
{
	const char *patch = funcs <= 1000 ? "bench_a" : "bench_big";
	const char *target = funcs <= 1000 ? "bench_t1k" : "bench_t10k";
	int rounds = funcs <= 100 ? 8 : 2, round, i;
	struct mean means[] = {
		{ "enable", "total" },
		{ "enable", "prepare" },
		{ "enable", "redirect" },
		{ "transition", "total" },
		{ "disable", "total" },
	};

	if (!both || (long)funcs * nr_threads > 100000)
		rounds = 1;
	need_target(target);
	for (round = 0; round < rounds; round++) {
		uint64_t call, enabling, starting, complete;

		/* Not always at the same point of the timers. */
		sleep_ms(1000 + 37 * round);
		enable(patch, "funcs=%d object=%s", funcs, target);
		call = time_of("mark: call", 0);
		enabling = time_of("enabling patch", call);
		starting = time_of("starting patching transition", enabling);
		complete = time_of("': patching complete", starting);
		means[0].sum += complete - call;
		means[1].sum += enabling - call;
		means[2].sum += starting - enabling;
		means[3].sum += complete - starting;
		expect_patched(1, funcs);
		if (!both)
			break;
		sleep_ms(1000 + 53 * round);
		means[4].sum += disable(patch);
		expect_patched(1, 0);
	}
	for (i = 0; i < (both ? 5 : 4); i++)
		report(means[i].kind, means[i].metric, funcs, means[i].sum / rounds,
		       "instructions");
}

/* How enabling and disabling grow, with the same target. */
static void step_grow(int funcs)
{
	need_target("bench_t10k");
	sleep_ms(1000);
	enable("bench_big", "funcs=%d object=bench_t10k", funcs);
	report("enable", "total-10k", funcs,
	       time_of("': patching complete", 0) - time_of("mark: call", 0), "instructions");
	expect_patched(1, funcs);
	sleep_ms(1000);
	report("disable", "total-10k", funcs, disable("bench_big"), "instructions");
}

#define CALLS 10000

static uint64_t calls(void)
{
	command("call");
	return last_result();
}

static void report_call(const char *metric, uint64_t took, uint64_t without)
{
	report("call", metric, 100, ((double)took - (double)without) / CALLS, "instructions/call");
}

/* What the call of a patched function costs over that of the same function. */
static void step_call(void)
{
	uint64_t plain, traced;
	char function[64], *line;

	need_target("bench_t1k");
	plain = calls();
	line = strstr(text, "function ");
	if (!line || sscanf(line, "function %63s", function) != 1)
		fail("no function");

	enable("bench_a", "funcs=100");
	report_call("steady", calls(), plain);
	enable("bench_b", "funcs=100");
	expect_patched(2, 100);
	report_call("stacked", calls(), plain);
	disable("bench_b");
	expect_patched(1, 100);
	enable("bench_b", "funcs=100 replace=1");
	command("wait put: bench_a");
	expect_patched(2, 100);
	report_call("replaced", calls(), plain);
	unload("bench_a");
	disable("bench_b");
	/* The clocks of some architectures are an instruction or two off. */
	if (labs((long)(calls() - plain)) > CALLS / 100)
		fail("calls cost more after unpatching: %lu, not %lu", last_result(), plain);

	command("block");
	command("clear");
	load("bench_a", "funcs=100 block=1");
	sleep_ms(3000);
	/* We have switched, being back from the kernel; the blocker has not. */
	expect_patched(1, 100);
	report_call("transition-patched", calls(), plain);
	command("call in block");
	report_call("transition-unpatched", last_result(), plain);
	command("unblock");
	command("wait 'bench_a': patching complete");
	disable("bench_a");

	write_file(TRACING "/set_ftrace_filter", function);
	write_file(TRACING "/current_tracer", "function");
	traced = calls();
	if (traced <= plain)
		fail("the function tracer traces nothing");
	enable("bench_a", "funcs=100");
	report_call("traced", calls(), traced);
	disable("bench_a");
	write_file(TRACING "/current_tracer", "nop");
}

/* Replaces a patch by one that has most functions in common with it. */
static void step_replace(void)
{
	uint64_t call;

	need_target("bench_t1k");
	enable("bench_a", "funcs=500");
	sleep_ms(1000);
	enable("bench_b", "funcs=500 first=50 replace=1");
	command("wait put: bench_a");
	call = time_of("mark: call", 0);
	report("replace", "complete", 500, time_of("'bench_b': patching complete", call) - call,
	       "instructions");
	report("replace", "total", 500, time_of("put: bench_a", call) - call, "instructions");
	expect_patched(2, 500);
	expect_patched(1, 0);
	expect_patched(0, 500);
	disable("bench_b");
	unload("bench_a");
}

static uint64_t prepare_time(void)
{
	uint64_t call;

	enable("bench_a", "funcs=1000 object=bench_t20k");
	call = time_of("mark: call", 0);
	return time_of("enabling patch", call) - call;
}

/* Finds the functions in a module with many symbols. */
static void step_resolve(void)
{
	uint64_t without, with;

	/* Without the module there is everything to do but that. */
	need_target(NULL);
	without = prepare_time();
	disable("bench_a");
	need_target("bench_t20k");
	sleep_ms(1000);
	with = prepare_time();
	expect_patched(1, 1000);
	report("resolve", "total", 1000, (double)with - (double)without, "instructions");
	report("resolve", "tree", 1000, without, "instructions");
	disable("bench_a");
}

/* Loads a module that a patch is waiting for. */
static void step_coming(void)
{
	uint64_t without, with;

	need_target(NULL);
	/* The first time is special. */
	load("bench_t1k", "");
	unload("bench_t1k");
	sleep_ms(1000);
	without = load("bench_t1k", "");
	unload("bench_t1k");
	enable("bench_a", "funcs=1000");
	sleep_ms(1000);
	with = load("bench_t1k", "");
	loaded = "bench_t1k";
	expect_patched(1, 1000);
	report("coming", "total", 1000, (double)with - (double)without, "instructions");
	disable("bench_a");
}

static double memory_of(const char *key)
{
	char *line;

	read_file("/proc/meminfo");
	line = strstr(text, key);
	if (!line)
		fail("no %s in meminfo", key);
	return strtod(line + strlen(key), NULL) * 1024;
}

/* How many pages hold trampolines of ftrace. */
static int trampolines(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512];
	int count = 0;

	if (!file)
		fail("open kallsyms: %s", strerror(errno));
	while (fgets(line, sizeof(line), file))
		count += strstr(line, "ftrace_trampoline") && strstr(line, "[__builtin__ftrace]");
	fclose(file);
	return count;
}

/* Has the allocator give back what it keeps for later, which would not be counted. */
static void shrink_slabs(void)
{
	glob_t found;
	size_t i;

	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &found))
		fail("no slabs in sysfs");
	for (i = 0; i < found.gl_pathc; i++)
		write_file(found.gl_pathv[i], "1");
	globfree(&found);
}

static void step_memory(int funcs)
{
	double percpu, slab;
	int pages;

	need_target("bench_t1k");
	/* What is there for good after the first time is not counted. */
	enable("bench_a", "funcs=%d", funcs);
	disable("bench_a");
	sleep_ms(3000);
	shrink_slabs();
	percpu = memory_of("\nPercpu:");
	pages = trampolines();
	enable("bench_a", "funcs=%d", funcs);
	sleep_ms(3000);
	shrink_slabs();
	command("memory slab");
	slab = last_result();
	report("memory", "slab", funcs, slab / funcs, "bytes/function");
	report("memory", "percpu", funcs, (memory_of("\nPercpu:") - percpu) / funcs,
	       "bytes/function");
	report("memory", "trampolines", funcs, (trampolines() - pages) * 4096.0 / funcs,
	       "bytes/function");
	disable("bench_a");
}

/* How long tasklist_lock is held while a patch is enabled. */
static void step_hold(int funcs)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512], address[32] = "";

	if (!file)
		fail("open kallsyms: %s", strerror(errno));
	while (fgets(line, sizeof(line), file))
		if (strstr(line, " tasklist_lock\n"))
			sscanf(line, "%31s", address);
	fclose(file);
	if (!address[0])
		fail("no tasklist_lock");

	need_target("bench_t1k");
	command("hold %s", address);
	if (fork() == 0)
		_exit(0);
	wait(NULL);
	enable("bench_a", "funcs=%d", funcs);
	command("stop hold");
	if (!last_result())
		fail("tasklist_lock was never held");
	report("hold", "tasklist_lock", funcs, last_result(), "instructions");
	report("hold", "transition", funcs,
	       time_of("': patching complete", 0) - time_of("starting patching", 0),
	       "instructions");
	expect_patched(1, funcs);
	disable("bench_a");
}

/* Written by one process, and read by another. */
struct shared {
	uint64_t longest;
	uint64_t forks;
};

static struct shared *shared;

static uint64_t get(uint64_t *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void set(uint64_t *value, uint64_t to)
{
	__atomic_store_n(value, to, __ATOMIC_RELAXED);
}

/*
 * Forks all the time, and takes note of the longest time from fork() to the end
 * of wait(): forks and exits wait for tasklist_lock alike.
 */
static void forker(void)
{
	uint64_t start, took;
	pid_t child;

	pin(1);
	for (;;) {
		start = now();
		child = fork();
		if (!child)
			_exit(0);
		if (child < 0)
			fail("fork: %s", strerror(errno));
		waitpid(child, NULL, 0);
		took = now() - start;
		if (took > get(&shared->longest))
			set(&shared->longest, took);
		set(&shared->forks, get(&shared->forks) + 1);
	}
}

static void step_fork(int funcs)
{
	pid_t child;

	pin(0);
	need_target("bench_t1k");
	sleep_ms(1000);
	child = fork();
	if (!child)
		forker();
	sleep_ms(1000);
	set(&shared->longest, 0);
	sleep_ms(1000);
	report("hold", "longest-fork-before", funcs, get(&shared->longest),
	       "instructions");
	set(&shared->longest, 0);
	set(&shared->forks, 0);
	enable("bench_a", "funcs=%d", funcs);
	/* The fork that is going on counts, too. */
	sleep_ms(100);
	if (!get(&shared->forks))
		fail("nothing was forked");
	report("hold", "longest-fork", funcs, get(&shared->longest), "instructions");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	expect_patched(1, funcs);
	disable("bench_a");
}

static pid_t background(void (*function)(void))
{
	pid_t child = fork();

	if (!child) {
		for (;;)
			function();
	}
	return child;
}

static void spin(void)
{
	__asm__ volatile("" ::: "memory");
}

static void call_kernel(void)
{
	syscall(SYS_getppid);
}

/* Enables a patch, and returns how long its transition takes. */
static double patching_time(int funcs)
{
	uint64_t start, complete;

	enable("bench_a", "funcs=%d", funcs);
	start = time_of("starting patching transition", 0);
	complete = time_of("': patching complete", start);
	expect_patched(1, funcs);
	return complete - start;
}

/* Disables and unloads it. */
static double unpatching_time(void)
{
	uint64_t start = start_disable("bench_a"), complete;

	command("wait put: bench_a");
	start = time_of("starting unpatching transition", start);
	complete = time_of("': unpatching complete", start);
	unload("bench_a");
	expect_patched(1, 0);
	return complete - start;
}

/* Transitions on a machine that is busy. */
static void step_load(int funcs, int rounds)
{
	double patching = 0, unpatching = 0, longest = 0, took;
	pid_t children[8];
	int i;

	need_target("bench_t1k");
	for (i = 0; i < 8; i++)
		children[i] = background(i < 4 ? spin : call_kernel);
	command("yield");
	sleep_ms(100);
	for (i = 0; i < rounds; i++) {
		took = patching_time(funcs);
		patching += took;
		if (took > longest)
			longest = took;
		took = unpatching_time();
		unpatching += took;
		if (took > longest)
			longest = took;
		/* Not always at the same point of the timers. */
		sleep_ms(37 + 11 * i);
	}
	report("load", "patching", funcs, patching / rounds, "instructions");
	report("load", "unpatching", funcs, unpatching / rounds, "instructions");
	report("load", "longest", funcs, longest, "instructions");
	for (i = 0; i < 8; i++)
		kill(children[i], SIGKILL);
	command("stop yield");
}

#define ZEROES (64 << 20)

static char *zeroes;
static int dev_zero;

/* In the kernel, for longer than a task may run without being preempted. */
static void read_zeroes(void)
{
	if (read(dev_zero, zeroes, ZEROES) != ZEROES)
		_exit(1);
}

/* Transitions while tasks wait for a CPU, most of them preempted in the kernel. */
static void step_preempted(int tasks)
{
	double patching = 0, unpatching = 0;
	pid_t children[tasks];
	int i, rounds = 8;

	need_target("bench_t1k");
	dev_zero = open("/dev/zero", O_RDONLY);
	zeroes = mmap(NULL, ZEROES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (dev_zero < 0 || zeroes == MAP_FAILED)
		fail("/dev/zero: %s", strerror(errno));
	read_zeroes();
	for (i = 0; i < tasks; i++)
		children[i] = background(read_zeroes);
	nr_threads = tasks;
	/* Until each has had a turn. */
	sleep_ms(3000);
	for (i = 0; i < rounds; i++) {
		patching += patching_time(10);
		sleep_ms(100 + 37 * i);
		unpatching += unpatching_time();
		sleep_ms(100 + 53 * i);
	}
	report("preempted", "patching", 10, patching / rounds, "instructions");
	report("preempted", "unpatching", 10, unpatching / rounds, "instructions");
	for (i = 0; i < tasks; i++)
		kill(children[i], SIGKILL);
}

/*
 * What all pay: the least that so many turns of something have taken. The least,
 * because interrupts come in between.
 */
static double least(void (*function)(void), int turns)
{
	uint64_t best = UINT64_MAX, start, took;
	int round, i;

	for (round = 0; round < 50; round++) {
		start = now();
		for (i = 0; i < turns; i++)
			function();
		took = now() - start;
		if (took < best)
			best = took;
	}
	return (double)best / turns;
}

static int to_other[2], from_other[2];

static void ping(void)
{
	char byte = 0;

	if (write(to_other[1], &byte, 1) != 1 || read(from_other[0], &byte, 1) != 1)
		fail("pipe: %s", strerror(errno));
}

static void pong(void)
{
	char byte;

	if (read(to_other[0], &byte, 1) != 1 || write(from_other[1], &byte, 1) != 1)
		_exit(1);
}

static void fork_and_wait(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
}

/* From the moment when the timer is due, in the idle loop, to being back here. */
static double wake_from_idle(void)
{
	uint64_t best = UINT64_MAX;
	int round;

	for (round = 0; round < 50; round++) {
		struct timespec time;
		uint64_t start, before;

		clock_gettime(CLOCK_MONOTONIC, &time);
		before = time.tv_sec * 1000000000ull + time.tv_nsec;
		time.tv_nsec += 20000000;
		if (time.tv_nsec >= 1000000000) {
			time.tv_nsec -= 1000000000;
			time.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
		clock_gettime(CLOCK_MONOTONIC, &time);
		start = time.tv_sec * 1000000000ull + time.tv_nsec - before - 20000000;
		if (start < best)
			best = start;
	}
	return best;
}

static void step_unpatched(void)
{
	pid_t child;

	report("unpatched", "exit-to-user", 0, least(call_kernel, 100), "instructions/call");
	if (pipe(to_other) || pipe(from_other))
		fail("pipe: %s", strerror(errno));
	child = background(pong);
	report("unpatched", "schedule", 0, least(ping, 20), "instructions/round");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	report("unpatched", "fork", 0, least(fork_and_wait, 1), "instructions/fork");
	report("unpatched", "idle", 0, wake_from_idle(), "instructions/wakeup");
}

static void run(char *name)
{
	int funcs = 0;
	char *value = strchr(name, '=');

	step = name;
	if (value) {
		*value++ = '\0';
		funcs = atoi(value);
	}
	if (!strcmp(name, "threads"))
		run_threads(funcs);
	else if (!strcmp(name, "life"))
		step_life(funcs, true);
	else if (!strcmp(name, "enable"))
		step_life(funcs, false);
	else if (!strcmp(name, "grow"))
		step_grow(funcs);
	else if (!strcmp(name, "call"))
		step_call();
	else if (!strcmp(name, "replace"))
		step_replace();
	else if (!strcmp(name, "resolve"))
		step_resolve();
	else if (!strcmp(name, "coming"))
		step_coming();
	else if (!strcmp(name, "memory"))
		step_memory(funcs);
	else if (!strcmp(name, "hold"))
		step_hold(funcs);
	else if (!strcmp(name, "fork"))
		step_fork(funcs);
	else if (!strcmp(name, "load"))
		step_load(funcs, 8);
	else if (!strcmp(name, "preempted"))
		step_preempted(funcs);
	else if (!strcmp(name, "unpatched"))
		step_unpatched();
	else
		fail("unknown step");
}

/*
 * The guest's kernel is quiet, for its console would be in the figures. What should
 * not be in its log is looked for here.
 */
static void look_at_log(void)
{
	static const char * const bad[] = {
		"WARNING:", "BUG:", "Oops", "Call Trace:", "INFO: rcu", "INFO: task", NULL
	};
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	const char * const *text;
	char line[4096];
	ssize_t n;

	if (fd < 0)
		fail("/dev/kmsg: %s", strerror(errno));
	/* EPIPE: what comes next has been overwritten. */
	while ((n = read(fd, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		line[n > 0 ? n : 0] = 0;
		line[strcspn(line, "\n")] = 0;
		for (text = bad; *text; text++) {
			if (strstr(line, *text)) {
				fprintf(console, "@log %s\n", line);
				break;
			}
		}
	}
	close(fd);
}

int main(void)
{
	const char *wanted = getenv("bench");
	char *steps, *name, *state;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("tracefs", TRACING, "tracefs", 0, NULL);
	console = fopen("/dev/console", "w");
	if (!console)
		reboot(RB_AUTOBOOT);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	write_file("/proc/sys/kernel/threads-max", "60000");
	write_file("/proc/sys/kernel/pid_max", "100000");

	load("klp_bench", "");
	steps = strdup(wanted ? wanted : "");
	for (name = strtok_r(steps, ";", &state); name; name = strtok_r(NULL, ";", &state)) {
		run(name);
		fprintf(console, "@done %s\n", name);
		fflush(console);
	}
	look_at_log();
	fprintf(console, "@end %d\n", nr_results);
	end();
}
