/* SPDX-License-Identifier: Apache-2.0 */
#include "deed.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void catch (int number)
{
	caught = number;
}

/* What @work does to signals is done in a process of its own; it ends with 0 when it worked. */
static bool works_apart(bool (*work)(void))
{
	int status = -1;
	pid_t child = fork();

	if (child == 0)
		_exit(work() ? 0 : 1);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static bool raise_and_catch(void)
{
	struct sigaction action = {.sa_handler = catch, .sa_flags = SA_RESTART};
	sigset_t one;

	sigaction(SIGUSR1, &action, NULL);
	if (raise(SIGUSR1) != 0 || caught != SIGUSR1)
		return false;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	sigprocmask(SIG_BLOCK, &one, NULL);
	int fd = signalfd(-1, &one, SFD_CLOEXEC);
	if (fd < 0 || sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 5}) != 0)
		return false;
	struct signalfd_siginfo info;
	return read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_int == 5;
}

static bool use_signals(char why[WHY])
{
	NEED(works_apart(raise_and_catch));
	return true;
}

/* A server that reads its configuration again at SIGHUP, sent by whoever rotated its logs. */
static bool reload_at_sighup(void)
{
	struct sigaction action = {.sa_handler = catch};
	int ends[2];

	sigaction(SIGHUP, &action, NULL);
	if (pipe(ends) < 0)
		return false;
	pid_t sender = fork();
	if (sender == 0)
		_exit(kill(getppid(), SIGHUP));
	(void)!poll(&(struct pollfd){ends[0], POLLIN, 0}, 1, 5000);
	while (caught != SIGHUP)
		(void)!poll(NULL, 0, 10);
	FILE *again = fopen("/share/server.conf", "re");
	return again != NULL && waitpid(sender, NULL, 0) == sender;
}

static bool reload(char why[WHY])
{
	NEED(works_apart(reload_at_sighup));
	return true;
}

static bool wait_for_alarm(void)
{
	struct itimerval soon = {.it_value = {0, 10000}};
	struct sigaction action = {.sa_handler = catch};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (int i = 0; caught != SIGALRM && i < 1000; i++)
		(void)!poll(NULL, 0, 10);
	return caught == SIGALRM;
}

static bool use_timers(char why[WHY])
{
	struct itimerspec soon = {.it_value = {0, 1000000}};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct timespec now;
	timer_t timer;

	NEED(fd >= 0);
	NEED(timerfd_settime(fd, 0, &soon, NULL) == 0);
	NEED(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 5000) == 1);
	close(fd);
	struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
	NEED(timer_create(CLOCK_MONOTONIC, &quiet, &timer) == 0);
	NEED(timer_settime(timer, 0, &soon, NULL) == 0 && timer_delete(timer) == 0);
	NEED(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
	NEED(works_apart(wait_for_alarm));
	return true;
}

const Deed deeds_of_signals[] = {
	{"signals", use_signals},
	{"reload-by-sighup", reload},
	{"timers", use_timers},
	{NULL, NULL},
};
