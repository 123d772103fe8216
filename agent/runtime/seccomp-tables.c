/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/seccomp.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <glib.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/shm.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define INT UINT64_C(0xffffffff)

/*
 * What Go, glibc, musl, Python and nginx need to serve, by noun. Left out on purpose, beside all
 * that needs a capability: io_uring_*, bpf, keyctl, add_key, request_key, userfaultfd, mount and
 * its new family, unshare, setns, pivot_root, chroot, ptrace, process_vm_*, process_madvise,
 * kcmp, perf_event_open, name_to_handle_at, open_by_handle_at, pidfd_getfd, memfd_secret,
 * modify_ldt, remap_file_pages, syslog, sync.
 */
const char *const dn_seccomp_plain[] = {
	/* files */
	"access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat",
	"dup", "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir",
	"fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr",
	"flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync",
	"ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "lchown",
	"lgetxattr", "link", "linkat", "listxattr", "llistxattr", "lremovexattr", "lseek",
	"lsetxattr", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2",
	"pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
	"readlink", "readlinkat", "readv", "removexattr", "rename", "renameat", "renameat2",
	"rmdir", "sendfile", "setxattr", "splice", "stat", "statfs", "statx", "symlink",
	"symlinkat", "sync_file_range", "syncfs", "tee", "truncate", "umask", "unlink", "unlinkat",
	"utime", "utimensat", "utimes", "vmsplice", "write", "writev",
	/* waiting */
	"epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait",
	"eventfd", "eventfd2", "inotify_add_watch", "inotify_init", "inotify_init1",
	"inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup",
	"io_submit", "pipe", "pipe2", "poll", "ppoll", "pselect6", "select", "signalfd",
	"signalfd4",
	/* memory */
	"brk", "madvise", "mincore", "mlock", "mlock2", "mlockall", "mremap", "msync", "munlock",
	"munlockall", "munmap", "pkey_alloc", "pkey_free",
	/* processes and threads */
	"arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork",
	"futex", "futex_waitv", "get_robust_list", "getegid", "geteuid", "getgid", "getgroups",
	"getpgid", "getpgrp", "getpid", "getppid", "getresgid", "getresuid", "getsid", "gettid",
	"getuid", "membarrier", "pidfd_open", "pidfd_send_signal", "prctl", "restart_syscall",
	"rseq", "seccomp", "set_robust_list", "set_tid_address", "setfsgid", "setfsuid", "setgid",
	"setgroups", "setpgid", "setregid", "setresgid", "setresuid", "setreuid", "setsid",
	"setuid", "vfork", "wait4", "waitid",
	/* restricting oneself further */
	"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
	/* signals */
	"kill", "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
	"rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sigaltstack",
	"tgkill", "tkill",
	/* limits and scheduling */
	"getcpu", "getpriority", "getrlimit", "getrusage", "ioprio_get", "prlimit64",
	"sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
	"sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity",
	"sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "setpriority",
	"setrlimit", "sysinfo", "times", "uname",
	/* sockets; socket itself is below */
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt",
	"listen", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt",
	"shutdown",
	/* System V and POSIX objects of the node's own ipc namespace */
	"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
	"msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmctl",
	"shmdt", "shmget",
	/* time and chance */
	"alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "getrandom",
	"gettimeofday", "nanosleep", "setitimer", "time", "timer_create", "timer_delete",
	"timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime",
	"timerfd_settime", NULL};

#define NEW_NAMESPACES                                                                             \
	((uint64_t)CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |   \
	 CLONE_NEWPID | CLONE_NEWNET)
#define TYPE (INT & ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC))

#define ALLOW(name_, ...)                                                                          \
	{                                                                                          \
		.names = {name_},                                                                  \
		.n_args = sizeof((DnSeccompArg[]){__VA_ARGS__}) / sizeof(DnSeccompArg),            \
		.args = {__VA_ARGS__},                                                             \
	}
#define SOCKET(family_, type_, protocol_)                                                          \
	ALLOW("socket", {0, INT, family_}, {1, TYPE, type_}, {2, INT, protocol_})

const DnSeccompRule dn_seccomp_rules[] = {
	ALLOW("clone", {0, NEW_NAMESPACES, 0}),
	/* Its flags are in memory, out of a filter's reach; libcs fall back to clone on ENOSYS
	   only. */
	{.names = {"clone3"}, .errnum = ENOSYS},
	SOCKET(AF_UNIX, SOCK_STREAM, 0),
	SOCKET(AF_UNIX, SOCK_DGRAM, 0),
	SOCKET(AF_INET, SOCK_STREAM, 0),
	SOCKET(AF_INET, SOCK_STREAM, IPPROTO_TCP),
	SOCKET(AF_INET, SOCK_DGRAM, 0),
	SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	SOCKET(AF_INET6, SOCK_STREAM, 0),
	SOCKET(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
	SOCKET(AF_INET6, SOCK_DGRAM, 0),
	SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
	/* getaddrinfo() and getifaddrs() ask for addresses; changing them needs a capability. */
	SOCKET(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
	SOCKET(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE),
	ALLOW("socketpair", {0, INT, AF_UNIX}),
	/* mkfifo() and no device; without a capability it would fail later anyway. */
	ALLOW("mknod", {1, S_IFMT, S_IFIFO}),
	ALLOW("mknodat", {2, S_IFMT, S_IFIFO}),
	ALLOW("personality", {0, INT, 0}),
	ALLOW("personality", {0, INT, INT}), /* asks */
};
const size_t dn_seccomp_n_rules = G_N_ELEMENTS(dn_seccomp_rules);

const DnSeccompRule dn_seccomp_wx[] = {
	ALLOW("mmap", {2, PROT_EXEC, 0}),
	/*
	 * Text of a file: executable, neither writable nor anonymous, and private: pages that are
	 * shared have a second mapping for the asking, by which they can be written.
	 */
	ALLOW("mmap", {2, PROT_WRITE, 0}, {3, MAP_ANONYMOUS | MAP_TYPE, MAP_PRIVATE}),
	ALLOW("mprotect", {2, PROT_EXEC, 0}),
	ALLOW("pkey_mprotect", {2, PROT_EXEC, 0}),
	ALLOW("shmat", {2, SHM_EXEC, 0}),
};
const size_t dn_seccomp_n_wx = G_N_ELEMENTS(dn_seccomp_wx);

/*
 * A list of what is allowed: "all but TIOCSTI" cannot be said safely, for the kernel drops the
 * upper half of the request and a filter compares it.
 */
const uint32_t dn_seccomp_ioctls[] = {
	FIOCLEX,
	FIONCLEX,
	FIONBIO,
	FIOASYNC,
	FIONREAD,
	FIOQSIZE,
	TIOCOUTQ,
	TCGETS,
	TIOCGWINSZ,
	TIOCGPGRP,
	SIOCATMARK,
	SIOCGIFCONF,
	SIOCGIFINDEX,
	SIOCGIFNAME,
	SIOCGIFFLAGS,
	SIOCGIFADDR,
	SIOCGIFDSTADDR,
	SIOCGIFBRDADDR,
	SIOCGIFNETMASK,
	SIOCGIFHWADDR,
	SIOCGIFMTU,
	SIOCGIFTXQLEN,
	0,
};
