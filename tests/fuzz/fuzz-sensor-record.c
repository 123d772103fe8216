/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/text.h"
#include "fuzz/fuzz.h"
#include "sensor/private.h"

/* What the kernel wrote down of a refused exec; path and name are the node's own words. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dn_sensor_observation seen = {0};
	DnSensor sensor = {0};

	for (size_t i = 0; i < G_N_ELEMENTS(sensor.maps); i++)
		sensor.maps[i] = -1;
	if (size > 0)
		memcpy(&seen, data, MIN(size, sizeof(seen)));
	/* Half of them are about a process that is there: this one. */
	if (seen.pid % 2 == 0)
		seen.pid = (uint32_t)getpid();
	(void)dn_sensor_refused_is_foreign(&sensor, 1, &seen, (uint32_t)getpid());
	g_autofree char *path = dn_text_printable((const char *)seen.path,
						  strnlen((const char *)seen.path, DN_SENSOR_PATH));
	fuzz_judge_text(path);
	return 0;
}
