/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"

/* What the contract names and a later version brings. */

#define RESERVED(noun_, verb_)                                                                     \
	{                                                                                          \
		.noun = noun_, .verb = verb_, .operands = "...", .most = G_MAXUINT,                \
		.help = "not in this version", .hidden = true, .reserved = true,                   \
	}

const DnVerb dn_verb_host_drain = RESERVED("host", "drain");
const DnVerb dn_verb_roll_abort = RESERVED("roll", "abort");
const DnVerb dn_verb_evidence_ls = RESERVED("evidence", "ls");
const DnVerb dn_verb_evidence_show = RESERVED("evidence", "show");
const DnVerb dn_verb_evidence_export = RESERVED("evidence", "export");
const DnVerb dn_verb_evidence_verify = RESERVED("evidence", "verify");
