/* SPDX-License-Identifier: Apache-2.0 */
#include "deed.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MIB = 1 << 20, BIG = 96 * MIB, DEPTH = 1500, THREAD_STACK = 16 * MIB };

/* Most of what the manifest gives (128 MiB), touched and given back. */
static bool use_nearly_all_memory(char why[WHY])
{
	char *bytes = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(bytes != MAP_FAILED);
	for (size_t i = 0; i < BIG; i += PAGE)
		bytes[i] = 1;
	NEED(madvise(bytes, BIG, MADV_DONTNEED) == 0);
	NEED(munmap(bytes, BIG) == 0);
	return true;
}

/* Past the limit: the kernel ends the child that takes it, which is an exit and no drift. */
static bool run_out_of_memory(char why[WHY])
{
	int status = 0;
	pid_t child = fork();

	NEED(child >= 0);
	if (child == 0) {
		for (int i = 0; i < 4; i++) {
			char *bytes = mmap(NULL, BIG, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			for (size_t at = 0; bytes != MAP_FAILED && at < BIG; at += PAGE)
				bytes[at] = 1;
		}
		_exit(0);
	}
	NEED(waitpid(child, &status, 0) == child);
	NEED(WIFSIGNALED(status) && WTERMSIG(status) == 9);
	return true;
}

static unsigned sink(unsigned depth, volatile char *above)
{
	volatile char frame[PAGE];

	frame[0] = (char)(above[0] + 1);
	return depth == 0 ? (unsigned)frame[0] : sink(depth - 1, frame) + 1;
}

static void *recurse(void *data)
{
	volatile char top[1] = {0};

	(void)data;
	return (void *)(uintptr_t)(sink(DEPTH, top) >= DEPTH - 128);
}

static bool recurse_deeply(char why[WHY])
{
	pthread_attr_t attributes;
	pthread_t thread;
	void *deep = NULL;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	NEED(pthread_create(&thread, &attributes, recurse, NULL) == 0);
	NEED(pthread_join(thread, &deep) == 0 && deep != NULL);
	/* The stack of a process's first thread grows by itself. */
	char *argv[] = {(char[]){"helper"}, (char[]){"10"}, (char[]){"deep"}, NULL},
	     *env[] = {NULL};
	NEED(run_program("/bin/helper", argv, env) == 10);
	return true;
}

static bool allocate_storms(char why[WHY])
{
	enum { BLOCKS = 4096 };
	static __thread void *blocks[BLOCKS];

	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < BLOCKS; i++)
			NEED((blocks[i] = malloc((size_t)(i * 7 % 9000) + 1)) != NULL);
		for (int i = 0; i < BLOCKS; i++)
			free(blocks[i]);
	}
	char *grown = malloc(MIB);
	NEED(grown != NULL);
	NEED((grown = realloc(grown, 8 * MIB)) != NULL);
	free(grown);
	return true;
}

static bool guard_pages(char why[WHY])
{
	char *bytes = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			   -1, 0);

	NEED(bytes != MAP_FAILED);
	NEED(mprotect(bytes + PAGE, 8 * PAGE, PROT_READ | PROT_WRITE) == 0);
	bytes[PAGE] = 1;
	NEED(mprotect(bytes + PAGE, PAGE, PROT_READ) == 0);
	NEED(mincore(bytes, PAGE, (unsigned char[1]){0}) == 0);
	char *moved = mremap(bytes, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
	NEED(moved != MAP_FAILED);
	NEED(munmap(moved, 16 * PAGE) == 0);
	return true;
}

static bool lock_memory(char why[WHY])
{
	char *secret = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(secret != MAP_FAILED);
	NEED(mlock(secret, PAGE) == 0 && munlock(secret, PAGE) == 0);
	NEED(madvise(secret, PAGE, MADV_DONTDUMP) == 0);
	NEED(munmap(secret, PAGE) == 0);
	return true;
}

static bool use_shared_memory_and_semaphores(char why[WHY])
{
	int shm = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
	int sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);

	NEED(shm >= 0 && sem >= 0);
	char *bytes = shmat(shm, NULL, 0);
	NEED(bytes != (void *)-1);
	bytes[0] = 1;
	NEED(shmdt(bytes) == 0 && shmctl(shm, IPC_RMID, NULL) == 0);
	NEED(semop(sem, &(struct sembuf){0, 1, 0}, 1) == 0);
	NEED(semop(sem, &(struct sembuf){0, -1, IPC_NOWAIT}, 1) == 0);
	NEED(semctl(sem, 0, IPC_RMID) == 0);
	return true;
}

static bool use_posix_shared_memory(char why[WHY])
{
	char name[64];

	(void)snprintf(name, sizeof(name), "/deed-%lx", (unsigned long)pthread_self());
	int fd = shm_open(name, O_CREAT | O_RDWR | O_EXCL, 0600);
	NEED(fd >= 0);
	NEED(shm_unlink(name) == 0 && ftruncate(fd, PAGE) == 0);
	void *bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(bytes != MAP_FAILED);
	NEED(munmap(bytes, PAGE) == 0);
	close(fd);
	return true;
}

const Deed deeds_of_memory[] = {
	{"big-memory", use_nearly_all_memory},
	{"out-of-memory", run_out_of_memory},
	{"deep-recursion", recurse_deeply},
	{"allocation-storm", allocate_storms},
	{"guard-pages", guard_pages},
	{"locked-memory", lock_memory},
	{"system-v-ipc", use_shared_memory_and_semaphores},
	{"posix-shared-memory", use_posix_shared_memory},
	{NULL, NULL},
};
