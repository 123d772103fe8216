/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* The maps of dnode/sensor-abi.h. Their names are the names of their pins. */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DN_SENSOR_SLOTS);
	__type(key, __u64);
	__type(value, struct dn_sensor_node);
} node SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DN_SENSOR_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} link SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DN_SENSOR_SPACES);
	__type(key, __u32);
	__type(value, __u64);
} space SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DN_SENSOR_ALLOW);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* megabytes for what is mostly a dozen files */
	__type(key, struct dn_sensor_file);
	__type(value, __u32);
} allow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DN_SENSOR_SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct dn_sensor_mark);
} mark SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 524288);
} observations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DN_SENSOR_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} sequence SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DN_SENSOR_SLOTS *DN_PACES);
	__type(key, __u32);
	__type(value, struct dn_sensor_pace);
} pace SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DN_SENSOR_TRIED);
	__type(key, struct dn_sensor_tried);
	__type(value, __u64);
} tried SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} agent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DN_LOSSES);
	__type(key, __u32);
	__type(value, __u64);
} loss SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dn_sensor_abi);
} abi SEC(".maps");
