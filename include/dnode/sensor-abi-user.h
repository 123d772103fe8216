/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* sensor-abi.h for programs in user space. */

#include <linux/types.h>

#include <dnode/sensor-abi.h>
