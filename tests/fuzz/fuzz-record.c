/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "wire/json.h"
#include "wire/records.h"

/* Nodes, incidents and events as the store and a host's disk keep them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	GError *error = NULL;
	g_autoptr(JsonObject) object = dn_json_parse(bytes, 1024 * 1024, &error);

	fuzz_judge(object != NULL, error);
	if (object == NULL)
		return 0;
	error = NULL;
	DnNodeRecord *node = dn_record_to_node(object, &error);
	fuzz_judge(node != NULL, error);
	dn_node_record_free(node);
	error = NULL;
	DnIncident *incident = dn_record_to_incident(object, &error);
	fuzz_judge(incident != NULL, error);
	dn_incident_free(incident);
	error = NULL;
	DnEvent *event = dn_record_to_event(object, &error);
	fuzz_judge(event != NULL, error);
	dn_event_free(event);
	return 0;
}
