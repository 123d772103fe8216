/* SPDX-License-Identifier: Apache-2.0 */

/* Ways into the kernel: sockets of every kind, system calls, namespaces, entries of other sorts. */

#include "attacker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MPTCP = 262,
	UDPLITE = 136,
	SCTP = 132,
	DCCP = 33,
	SMC = 43,
	RDS = 21,
	FAMILIES = 64,
	NETLINKS = 32,
};

static void tell_socket(const char *name, int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	tell(name, fd);
	if (fd >= 0)
		close(fd);
}

/* ---- families of sockets ---- */

/* The numbers of those that answer anything but EPERM. */
static void tell_others(const char *name, int last, int (*attempt)(int number))
{
	printf("%s=", name);
	for (int i = 0; i < last; i++)
		if (attempt(i) >= 0 || errno != EPERM)
			printf("%d ", i);
	printf("\n");
}

static int try_family(int family)
{
	int worst = -1;

	if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK) {
		errno = EPERM;
		return -1;
	}
	for (int type = SOCK_STREAM; type <= SOCK_PACKET && worst < 0; type++) {
		worst = socket(family, type, 0);
		if (worst < 0 && errno != EPERM)
			return -1;
	}
	return worst;
}

static int try_netlink(int protocol)
{
	if (protocol == NETLINK_ROUTE) {
		errno = EPERM;
		return -1;
	}
	return socket(AF_NETLINK, SOCK_RAW, protocol);
}

static int connect_to_abstract(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	static const char name[] = "dnode-attack";
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(address.sun_path + 1, name, sizeof(name) - 1);
	return connect(fd, (struct sockaddr *)&address,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name)));
}

void attack_sockets(void)
{
	int pair[2];

	tell_socket("alg", AF_ALG, SOCK_SEQPACKET, 0);
	tell_socket("vsock", AF_VSOCK, SOCK_STREAM, 0);
	tell_socket("packet", AF_PACKET, SOCK_RAW, 0);
	tell_socket("packet-datagram", AF_PACKET, SOCK_DGRAM, 0);
	tell_socket("rds", RDS, SOCK_SEQPACKET, 0);
	tell_socket("smc", SMC, SOCK_STREAM, 0);
	tell_socket("key", AF_KEY, SOCK_RAW, 2);
	tell_socket("xfrm", AF_NETLINK, SOCK_RAW, NETLINK_XFRM);
	tell_socket("netfilter", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	tell_socket("audit", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
	tell_socket("diag", AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	tell_socket("raw", AF_INET, SOCK_RAW, IPPROTO_RAW);
	tell_socket("raw6", AF_INET6, SOCK_RAW, IPPROTO_RAW);
	tell_socket("ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	tell_socket("ping6", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
	tell_socket("mptcp", AF_INET, SOCK_STREAM, MPTCP);
	tell_socket("udplite", AF_INET, SOCK_DGRAM, UDPLITE);
	tell_socket("sctp", AF_INET, SOCK_STREAM, SCTP);
	tell_socket("sctp-many", AF_INET, SOCK_SEQPACKET, SCTP);
	tell_socket("dccp", AF_INET, SOCK_DCCP, DCCP);
	tell_socket("unix-seqpacket", AF_UNIX, SOCK_SEQPACKET, 0);
	tell("pair-inet", socketpair(AF_INET, SOCK_STREAM, 0, pair));
	tell_others("other-families", FAMILIES, try_family);
	tell_others("other-netlinks", NETLINKS, try_netlink);
	tell("hosts-abstract-socket", connect_to_abstract());
	/* What every ordinary program needs, or nothing above would say anything. */
	tell_socket("tcp", AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	tell_socket("udp6", AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
	tell_socket("route", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

/* ---- system calls that nobody needs ---- */

typedef struct {
	const char *name;
	long number;
	long arguments[6];
} Call;

#define ROW(name_, ...)                                                                            \
	{                                                                                          \
#name_, SYS_##name_,                                                               \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

/* Arguments are such that a success would change nothing. */
static const Call calls[] = {
	ROW(add_key),
	ROW(acct, -1),
	ROW(bpf),
	ROW(chroot, (long)"/tmp"),
	ROW(clock_adjtime, 99),
	ROW(clock_settime, 99),
	ROW(delete_module, (long)"none"),
	ROW(fanotify_init),
	ROW(finit_module, -1),
	ROW(fsconfig, -1),
	ROW(fsmount, -1),
	ROW(fsopen, (long)"tmpfs"),
	ROW(fspick, -1),
	ROW(init_module),
	ROW(io_uring_enter, -1),
	ROW(io_uring_register, -1),
	ROW(io_uring_setup, 1),
	ROW(kcmp, 1, 1),
	ROW(kexec_file_load, -1, -1),
	ROW(kexec_load),
	ROW(keyctl, KEYCTL_GET_KEYRING_ID),
	ROW(mbind),
	ROW(memfd_create, (long)"a"),
	ROW(memfd_secret),
	ROW(migrate_pages, 1),
	ROW(mount, (long)"none", (long)"/tmp", (long)"tmpfs"),
	ROW(mount_setattr, -1),
	ROW(move_mount, -1, (long)"", -1),
	ROW(move_pages, 1),
	ROW(name_to_handle_at, AT_FDCWD, (long)"/"),
	ROW(open_by_handle_at, AT_FDCWD),
	ROW(open_tree, AT_FDCWD, (long)"/", 1),
	ROW(perf_event_open, 0, 0, -1, -1),
	ROW(pidfd_getfd, -1, 0),
	ROW(pivot_root, (long)"/tmp", (long)"/tmp"),
	ROW(process_madvise, -1),
	ROW(process_vm_readv, 1),
	ROW(process_vm_writev, 1),
	ROW(ptrace, PTRACE_TRACEME),
	ROW(quotactl),
	ROW(reboot, 0, 0, 0),
	ROW(remap_file_pages),
	ROW(request_key),
	ROW(set_mempolicy),
	ROW(sethostname, (long)"", -1),
	ROW(setdomainname, (long)"", -1),
	ROW(setns, -1),
	ROW(settimeofday),
	ROW(swapoff, (long)"/none"),
	ROW(swapon, (long)"/none"),
	ROW(syslog, 10),
	ROW(umount2, (long)"/tmp", 0x8),
	ROW(userfaultfd, 1),
	ROW(vhangup),
#ifdef __x86_64__
	ROW(ioperm, 0, 1, 0),
	ROW(iopl, 0),
	ROW(modify_ldt),
	ROW(sysfs, 3),
	ROW(uselib, (long)"/none"),
	ROW(ustat),
#endif
	{"open_tree_attr", 467, {AT_FDCWD, (long)"/", 1}},
	{"listmount", 458, {0}},
	{"statmount", 457, {0}},
	{"map_shadow_stack", 453, {0, PAGE}},
	{"lsm_set_self_attr", 460, {0}},
	{"newest", 480, {0}},
};

void attack_calls(void)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const long *a = calls[i].arguments;

		tell(calls[i].name, syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]));
	}
}

/* ---- namespaces ---- */

void attack_namespaces(void)
{
	static const struct {
		const char *name;
		unsigned long flag;
	} kinds[] = {{"mnt", CLONE_NEWNS},  {"cgroup", CLONE_NEWCGROUP}, {"uts", CLONE_NEWUTS},
		     {"ipc", CLONE_NEWIPC}, {"user", CLONE_NEWUSER},     {"pid", CLONE_NEWPID},
		     {"net", CLONE_NEWNET}};
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	} arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	int own = open("/proc/self/ns/net", O_RDONLY);
	char name[32];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		(void)snprintf(name, sizeof(name), "unshare-%s", kinds[i].name);
		tell(name, unshare((int)kinds[i].flag));
		long pid = syscall(SYS_clone, kinds[i].flag | SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			_exit(0);
		(void)snprintf(name, sizeof(name), "clone-%s", kinds[i].name);
		tell(name, pid);
	}
	tell("unshare-time", unshare(0x80));
	long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0)
		_exit(0);
	tell("clone3", pid);
	tell("setns-own", setns(own, CLONE_NEWNET));
	tell("uid-map", open("/proc/self/uid_map", O_WRONLY) < 0
				? -1
				: write(open("/proc/self/uid_map", O_WRONLY), "0 0 1", 5));
}

/* ---- another entry to the kernel ---- */

#ifdef __x86_64__
static void enter_i386(void)
{
	long result = 20; /* getpid of i386 */

	__asm__ volatile("int $0x80" : "+a"(result)::"memory");
}

/* socketcall(SYS_SOCKET, AF_ALG…), which a filter of one architecture does not see into. */
static void enter_socketcall(void)
{
	static const unsigned arguments[3] = {AF_ALG, SOCK_SEQPACKET, 0};
	long result = 102;

	__asm__ volatile("int $0x80"
			 : "+a"(result)
			 : "b"(1L), "c"((long)(uintptr_t)arguments)
			 : "memory");
}

static void enter_x32(void)
{
	syscall(0x40000000 | SYS_getpid);
}
#endif

static void dump_core(void)
{
	abort();
}

void attack_entries(void)
{
#ifdef __x86_64__
	try_in_child("i386", enter_i386);
	try_in_child("socketcall", enter_socketcall);
	try_in_child("x32", enter_x32);
#endif
	int status = 0;
	pid_t pid = fork();
	if (pid == 0)
		dump_core();
	waitpid(pid, &status, 0);
	printf("core=%s\n", WCOREDUMP(status) ? "dumped" : "none");
}
