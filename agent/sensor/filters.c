/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/filters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "sensor/load.h"
#include "sensor/sensor.h"

/* One filter each way, always the same one, so that attaching again replaces it. */
enum { TC_HANDLE = 1, TC_PRIORITY = 1 };

/* Of Linux 6.6, newer than the headers this is built with may be. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47, TCX_PROGRAMS = 64 };

static const struct {
	enum bpf_tc_attach_point point;
	uint32_t parent; /* the same to netlink */
	uint32_t tcx;
} ways[DN_PIN_N_PROGRAMS] = {
	[DN_PIN_TO_NODE] = {BPF_TC_EGRESS, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), TCX_EGRESS},
	[DN_PIN_FROM_NODE] = {BPF_TC_INGRESS, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
			      TCX_INGRESS},
};

bool dn_filters_attach(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS], GError **error)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int rc = bpf_tc_hook_create(&hook);

	if (rc < 0 && rc != -EEXIST)
		return dn_load_throw(error, -rc, "add clsact to interface %u", ifindex);
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++) {
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, filter, .handle = TC_HANDLE,
				    .priority = TC_PRIORITY, .prog_fd = programs[i],
				    .flags = BPF_TC_F_REPLACE);

		hook.attach_point = ways[i].point;
		rc = bpf_tc_attach(&hook, &filter);
		if (rc < 0)
			return dn_load_throw(error, -rc, "attach to interface %u", ifindex);
	}
	return true;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

/* An interface number may have been given to another interface since; ask whose filter it is. */
void dn_filters_detach(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS])
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex);
	bool ours = false;

	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++) {
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, found, .handle = TC_HANDLE,
				    .priority = TC_PRIORITY);
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, filter, .handle = TC_HANDLE,
				    .priority = TC_PRIORITY);

		hook.attach_point = ways[i].point;
		if (bpf_tc_query(&hook, &found) < 0 || found.prog_id == 0 ||
		    found.prog_id != program_id(programs[i]))
			continue;
		ours = true;
		(void)bpf_tc_detach(&hook, &filter);
	}
	if (!ours)
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	(void)bpf_tc_hook_destroy(&hook);
}

bool dn_sensor_detach(uint32_t ifindex, GError **error)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex);

	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++) {
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, filter, .handle = TC_HANDLE,
				    .priority = TC_PRIORITY);

		hook.attach_point = ways[i].point;
		int rc = bpf_tc_detach(&hook, &filter);
		if (rc < 0)
			return dn_load_throw(error, -rc, "detach from interface %u", ifindex);
	}
	return true;
}

/* ---- who is asked first ---- */

/* The filter that a packet meets first. */
typedef struct {
	uint32_t handle;  /* 0: there is none */
	uint32_t program; /* 0: it is none of BPF */
	bool decides;     /* what it says is done, and by this machine */
} First;

static void read_options(First *first, struct rtattr *options)
{
	int left = (int)RTA_PAYLOAD(options);

	first->decides = false;
	for (struct rtattr *one = RTA_DATA(options); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
		const uint32_t *value = RTA_DATA(one);

		if (RTA_PAYLOAD(one) < sizeof(*value))
			continue;
		if (one->rta_type == TCA_BPF_ID)
			first->program = *value;
		if (one->rta_type == TCA_BPF_FLAGS)
			first->decides = (*value & TCA_BPF_FLAG_ACT_DIRECT) != 0;
		if (one->rta_type == TCA_BPF_FLAGS_GEN && (*value & TCA_CLS_FLAGS_SKIP_SW) != 0)
			first->decides = false;
	}
}

/* Of a filter that @message is about, when it is one: of each priority there is a head without. */
static bool read_filter(const struct nlmsghdr *message, First *first)
{
	const struct tcmsg *filter = NLMSG_DATA(message);
	int left = (int)TCA_PAYLOAD(message);
	bool bpf = false;
	uint32_t chain = 0; /* packets begin with 0 */
	First found = {.handle = filter->tcm_handle};

	if (message->nlmsg_type != RTM_NEWTFILTER || filter->tcm_handle == 0)
		return false;
	for (struct rtattr *one = TCA_RTA(filter); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
		if (one->rta_type == TCA_KIND)
			bpf = strncmp(RTA_DATA(one), "bpf", RTA_PAYLOAD(one)) == 0;
		if (one->rta_type == TCA_CHAIN && RTA_PAYLOAD(one) >= sizeof(chain))
			chain = *(const uint32_t *)RTA_DATA(one);
		if (one->rta_type == TCA_OPTIONS && bpf)
			read_options(&found, one);
	}
	if (chain != 0)
		return false;
	*first = found;
	return true;
}

static bool ask(int fd, uint32_t ifindex, uint32_t parent)
{
	struct {
		struct nlmsghdr header;
		struct tcmsg filter;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_GETTFILTER,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.filter = {.tcm_family = AF_UNSPEC,
			   .tcm_ifindex = (int)ifindex,
			   .tcm_parent = parent},
	};

	return send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request);
}

/* The kernel lists them in the order in which it asks them. False: it does not tell. */
static bool find_first(uint32_t ifindex, uint32_t parent, First *first)
{
	char bytes[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	dn_autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	*first = (First){0};
	if (fd < 0 || !ask(fd, ifindex, parent))
		return false;
	for (;;) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
		ssize_t left = got;

		if (got <= 0)
			return false;
		for (struct nlmsghdr *one = (struct nlmsghdr *)bytes; NLMSG_OK(one, left);
		     one = NLMSG_NEXT(one, left)) {
			if (one->nlmsg_type == NLMSG_ERROR)
				return false;
			if (one->nlmsg_type == NLMSG_DONE || read_filter(one, first))
				return true;
		}
	}
}

/* ---- programs of tcx ---- */

/* As the kernel of Linux 6.6 has it in union bpf_attr. */
typedef struct {
	uint32_t ifindex, type, query_flags, attach_flags;
	uint64_t programs;
	uint32_t count, reserved;
	uint64_t program_flags, links, link_flags, revision;
} TcxQuery;

/* How many there are, with their numbers and those of their links; none on a kernel without. */
static unsigned find_tcx(uint32_t ifindex, uint32_t type, uint32_t programs[TCX_PROGRAMS],
			 uint32_t links[TCX_PROGRAMS])
{
	TcxQuery query = {.ifindex = ifindex,
			  .type = type,
			  .programs = (uintptr_t)programs,
			  .count = TCX_PROGRAMS,
			  .links = (uintptr_t)links};

	return syscall(SYS_bpf, BPF_PROG_QUERY, &query, sizeof(query)) == 0 || errno == ENOSPC
		       ? MIN(query.count, (uint32_t)TCX_PROGRAMS)
		       : 0;
}

static void drop_tcx(uint32_t ifindex, uint32_t type)
{
	uint32_t programs[TCX_PROGRAMS] = {0}, links[TCX_PROGRAMS] = {0};
	unsigned n = find_tcx(ifindex, type, programs, links);

	for (unsigned i = 0; i < n; i++) {
		dn_autofd int link_fd = links[i] != 0 ? bpf_link_get_fd_by_id(links[i]) : -1;
		dn_autofd int program_fd = bpf_prog_get_fd_by_id(programs[i]);

		if (link_fd >= 0)
			(void)bpf_link_detach(link_fd);
		else if (program_fd >= 0)
			(void)bpf_prog_detach2(program_fd, (int)ifindex,
					       (enum bpf_attach_type)type);
	}
}

/* ---- right or wrong ---- */

static const char *fault_of(uint32_t ifindex, unsigned way, int program_fd)
{
	uint32_t programs[TCX_PROGRAMS] = {0}, links[TCX_PROGRAMS] = {0};
	First first;

	/* A kernel that has no descriptor or memory left does not say that anything is missing. */
	if (!find_first(ifindex, ways[way].parent, &first))
		return NULL;
	if (first.handle == 0)
		return "the filters on its interface were removed";
	if (first.program != program_id(program_fd) || !first.decides)
		return "the filters on its interface were passed by others";
	if (find_tcx(ifindex, ways[way].tcx, programs, links) > 0)
		return "a program was put before the filters on its interface";
	return NULL;
}

const char *dn_filters_fault(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS])
{
	const char *fault = NULL;

	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS && fault == NULL; i++)
		fault = fault_of(ifindex, i, programs[i]);
	return fault;
}

/* Whose filters are before ours may be anybody's: what they hang on is ours, and is made anew. */
bool dn_filters_repair(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS])
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++)
		drop_tcx(ifindex, ways[i].tcx);
	if (dn_filters_attach(ifindex, programs, NULL) &&
	    dn_filters_fault(ifindex, programs) == NULL)
		return true;
	(void)bpf_tc_hook_destroy(&hook);
	return dn_filters_attach(ifindex, programs, NULL) &&
	       dn_filters_fault(ifindex, programs) == NULL;
}
