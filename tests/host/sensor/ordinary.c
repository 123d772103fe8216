/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What ordinary programs do, linked statically and dynamically: none of it is drift. Waits for a
 * byte, joins the control group argv[1] as user and group argv[2] without a capability, executes
 * itself there as argv[3], does it all, and ends with 0.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *use_memory(void *size)
{
	char *block = malloc((size_t)size);

	memset(block, 1, (size_t)size);
	free(block);
	return NULL;
}

static int use_threads(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, use_memory, (void *)(1UL << (18 + i))) != 0)
			return 1;
	for (int i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
	return 0;
}

/* Pages change between readable, writable and nothing; a file is mapped to read. */
static int use_mappings(void)
{
	char *pages = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	void *file = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

	return pages == MAP_FAILED || file == MAP_FAILED ||
	       mprotect(pages, 65536, PROT_READ | PROT_WRITE) != 0 ||
	       memset(pages, 1, 65536) == 0 || mprotect(pages, 65536, PROT_READ) != 0 ||
	       munmap(pages, 65536) != 0;
}

static int use_files(void)
{
	char name[] = "/tmp/dnode-ordinary-XXXXXX", byte = 1;
	int fd = mkstemp(name), memory = memfd_create("cache", MFD_CLOEXEC);
	int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	int socket_fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* For a trigger, where the kernel lets anybody set one; its name begins as
	 * /proc/self/mem's. */
	int pressure = open("/proc/pressure/memory", O_RDWR | O_CLOEXEC);

	if (pressure >= 0)
		(void)close(pressure);
	if (fd >= 0)
		(void)unlink(name);
	return fd < 0 || memory < 0 || maps < 0 || socket_fd < 0 || write(fd, &byte, 1) != 1 ||
	       read(maps, &byte, 1) != 1 || fchmod(fd, 0600) != 0;
}

/* A child, and what programs do of their own user's: nothing is gained by it. */
static int use_processes(void)
{
	uid_t uid = getuid();
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(use_memory((void *)4096UL) != NULL);
	return waitpid(pid, &status, 0) != pid || status != 0 || setresuid(uid, uid, uid) != 0 ||
	       prctl(PR_SET_NAME, "renamed", 0, 0, 0) != 0;
}

static int join(const char *procs, unsigned id)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};
	int fd = open(procs, O_WRONLY | O_CLOEXEC);
	char byte;

	if (fd < 0 || setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 ||
	    setresuid(id, id, id) < 0 || syscall(SYS_capset, &header, none) < 0)
		return 70;
	if (read(0, &byte, 1) != 1 || write(fd, "0", 1) != 1)
		return 71;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4) {
		int failed = join(argv[1], (unsigned)strtoul(argv[2], NULL, 10));

		if (failed == 0)
			(void)execl(argv[3], argv[3], (char *)NULL);
		return failed != 0 ? failed : 72;
	}
	return use_threads() + 2 * use_mappings() + 4 * use_files() + 8 * use_processes();
}
