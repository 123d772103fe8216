/* SPDX-License-Identifier: Apache-2.0 */
#include "refused.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

enum { NS_PER_S = 1000000000 };

const int refused_calls[CALLS] = {SYS_kcmp, SYS_acct};

static int install(uint32_t answer, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refused_calls[CALL_TOLD], 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refused_calls[CALL_UNTOLD], 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, answer),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

bool filter_errno(void)
{
	return install(SECCOMP_RET_ERRNO | EPERM, 0) == 0;
}

int filter_notify(void)
{
	return install(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
}

uint64_t answer_notifications(int fd, bool sync)
{
	uint64_t answered = 0;

	if (sync)
		(void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	for (;;) {
		struct seccomp_notif asked = {0};

		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) {
			if (errno == EINTR)
				continue;
			return answered;
		}
		struct seccomp_notif_resp answer = {.id = asked.id, .error = -EPERM};
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0)
			answered++;
	}
}

static double since(const struct timespec *began, unsigned times)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((double)(now.tv_sec - began->tv_sec) * NS_PER_S +
		(double)(now.tv_nsec - began->tv_nsec)) /
	       times;
}

double time_ordinary(unsigned times)
{
	struct timespec began;

	clock_gettime(CLOCK_MONOTONIC, &began);
	for (unsigned i = 0; i < times; i++)
		(void)syscall(SYS_getppid);
	return since(&began, times);
}

double time_refused(int nr, unsigned times)
{
	struct timespec began;

	clock_gettime(CLOCK_MONOTONIC, &began);
	for (unsigned i = 0; i < times; i++)
		if (syscall(nr, 0, 0, 0, 0, 0) != -1 || errno != EPERM)
			return -1;
	return since(&began, times);
}
