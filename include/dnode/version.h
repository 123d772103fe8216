/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every JSON document names its schema, and what both ends of the link must speak. */
#define DN_SCHEMA "dnode/v1"
#define DN_LINK_VERSION 3
#define DN_VERSION "0.1.0"
