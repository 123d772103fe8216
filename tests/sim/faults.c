/* SPDX-License-Identifier: Apache-2.0 */

/* What goes wrong: drawn from the seed before the first step, and over after SIM_FAULTS_S. */

#include "host.h"
#include "supervisor.h"

static void on_quiet(Sim *sim, const Event *event)
{
	sim->faulty = false;
	sim_say(sim, "sim", "from here on nothing goes wrong any more");
	if (supervisor_leader(sim) == SIM_SUPERVISORS) {
		supervisor_crash(sim, 0, "it is replaced");
		supervisor_start(sim, 0);
	}
	for (unsigned i = 0; i < SIM_SUPERVISORS; i++)
		if (i != supervisor_leader(sim))
			supervisor_crash(sim, i, "its term is over");
	for (unsigned i = 0; i < sim->hosts; i++) {
		host_start(sim, i);
		host_crash_at_write(sim, i, 0);
		/* A network that orders anew or repeats has left links that are out of step. */
		host_break_link(sim, i);
	}
}

static void on_restart_supervisor(Sim *sim, const Event *event)
{
	if (sim->faulty)
		supervisor_start(sim, event->who);
}

static void on_supervisor(Sim *sim, const Event *event)
{
	uint64_t draw = sim_below(sim, 4);

	if (draw == 0) {
		/* Somebody starts the other one though this one is alive. */
		supervisor_start(sim, 1 - event->who);
		return;
	}
	if (draw == 1) {
		supervisor_jump(sim, event->who,
				((int64_t)sim_below(sim, 7200) - 3600) * (int64_t)SIM_S);
		return;
	}
	supervisor_crash(sim, event->who, "killed");
	sim_later(sim, sim_below(sim, 3 * SIM_S),
		  (Event){.call = on_restart_supervisor,
			  .who = draw == 2 ? event->who : 1 - event->who});
}

static void on_host(Sim *sim, const Event *event)
{
	unsigned host = event->who;

	switch (sim_below(sim, 10)) {
	case 0:
		host_crash(sim, host, "killed");
		break;
	case 1:
	case 2:
		host_crash_at_write(sim, host, 1 + (unsigned)sim_below(sim, 12));
		break;
	case 3:
		if (sim_chance(sim, 500))
			host_reboot(sim, host);
		break;
	case 4:
		host_break_link(sim, host);
		break;
	case 5:
		host_partition(sim, host, sim_below(sim, 15 * SIM_S));
		break;
	case 6:
		host_jump(sim, host, ((int64_t)sim_below(sim, 600) - 300) * (int64_t)SIM_S);
		break;
	case 7:
		host_exit(sim, host, sim_draw(sim));
		break;
	case 8:
		host_sicken(sim, host, sim_draw(sim), sim_below(sim, 8 * SIM_S));
		break;
	default:
		host_drift(sim, host, sim_draw(sim));
		break;
	}
}

static void on_drift(Sim *sim, const Event *event)
{
	host_drift(sim, event->who, sim_draw(sim));
}

static void on_replay(Sim *sim, const Event *event)
{
	Packet *kept =
		supervisor_recent(sim, (unsigned)sim_below(sim, SIM_SUPERVISORS), sim_draw(sim));

	if (kept != NULL)
		host_replay(sim, event->who, kept);
}

void faults_begin(Sim *sim)
{
	for (uint64_t n = sim_below(sim, 12); n > 0; n--)
		sim_later(sim, sim_below(sim, SIM_FAULTS_S * SIM_S),
			  (Event){.call = on_host, .who = (unsigned)sim_below(sim, sim->hosts)});
	for (uint64_t n = sim_below(sim, 8); n > 0; n--)
		sim_later(sim, sim_below(sim, SIM_FAULTS_S * SIM_S),
			  (Event){.call = on_drift, .who = (unsigned)sim_below(sim, sim->hosts)});
	for (uint64_t n = sim_below(sim, 4); n > 0; n--)
		sim_later(sim, sim_below(sim, SIM_FAULTS_S * SIM_S),
			  (Event){.call = on_supervisor,
				  .who = (unsigned)sim_below(sim, SIM_SUPERVISORS)});
	for (uint64_t n = sim_below(sim, 6); n > 0; n--)
		sim_later(sim, sim_below(sim, SIM_FAULTS_S * SIM_S),
			  (Event){.call = on_replay, .who = (unsigned)sim_below(sim, sim->hosts)});
	sim_later(sim, SIM_FAULTS_S * SIM_S, (Event){.call = on_quiet});
}
