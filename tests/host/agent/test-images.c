/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A supervisor that was taken over serves images as it likes. The real agent is given well-signed
 * manifests of images that were tampered with in every way there is, must start no node of any,
 * must say so, and must go on with those that are sound.
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "case.h"
#include "seal/digest.h"
#include "shelf.h"

#define REF "apps/hello"

enum { TOLD_S = 20, STARTED_S = 40 };

typedef struct {
	Case keys;
	Shelf shelf;
	ShelfImage *good; /* signed, sound, and running all the time */
	unsigned vips;
} Stage;

/* One way to tamper, tried on an image and a service of its own. */
typedef struct {
	const char *service;
	const char *ref; /* it is built for; NULL: none */
	void (*spoil)(Stage *stage, const ShelfImage *image);
	const char *why; /* has to stand in the event */
	bool is_mishap;  /* nothing is forged: the same can happen to an honest repository */
	bool is_lost;    /* no repair makes it an image of REF */
	const char *sentence;
} Scenario;

/* ---- ways to spoil ---- */

static void sign_by_ci(Stage *stage, const ShelfImage *image)
{
	shelf_sign(&stage->shelf, image, stage->keys.ci);
}

static void sign_by_tooler(Stage *stage, const ShelfImage *image)
{
	shelf_sign(&stage->shelf, image, stage->keys.tooler);
}

static void sign_by_ops(Stage *stage, const ShelfImage *image)
{
	shelf_sign(&stage->shelf, image, stage->keys.ops);
}

static void sign_by_stranger(Stage *stage, const ShelfImage *image)
{
	shelf_sign(&stage->shelf, image, stage->keys.stranger);
}

static void leave_unsigned(Stage *stage, const ShelfImage *image)
{
}

static void forge_signature(Stage *stage, const ShelfImage *image)
{
	g_autofree char *path = shelf_signatures(&stage->shelf, image);

	sign_by_ci(stage, image);
	/* Past the dictionary's key, inside the 64 bytes. */
	shelf_flip(&stage->shelf, path, 60);
}

static void flip(Stage *stage, const ShelfImage *image, const char *type, size_t at)
{
	g_autofree char *path = shelf_find(&stage->shelf, image, type);

	sign_by_ci(stage, image);
	shelf_flip(&stage->shelf, path, at);
}

static void flip_commit(Stage *stage, const ShelfImage *image)
{
	flip(stage, image, "commit", 10);
}

static void flip_file(Stage *stage, const ShelfImage *image)
{
	flip(stage, image, "file", 1000);
}

static void flip_tree(Stage *stage, const ShelfImage *image)
{
	flip(stage, image, "dirtree", 0);
}

static void flip_meta(Stage *stage, const ShelfImage *image)
{
	flip(stage, image, "dirmeta", 3);
}

static void lose_file(Stage *stage, const ShelfImage *image)
{
	g_autofree char *path = shelf_find(&stage->shelf, image, "file");

	sign_by_ci(stage, image);
	shelf_lose(&stage->shelf, path);
}

static void swap(Stage *stage, const ShelfImage *image, const char *type)
{
	g_autofree char *path = shelf_find(&stage->shelf, image, type);
	g_autofree char *other = shelf_find(&stage->shelf, stage->good, type);

	sign_by_ci(stage, image);
	shelf_replace(&stage->shelf, path, other);
}

static void swap_file(Stage *stage, const ShelfImage *image)
{
	swap(stage, image, "file");
}

/* A commit that is well signed, with its signatures, under the name of another. */
static void swap_commit(Stage *stage, const ShelfImage *image)
{
	g_autofree char *path = shelf_signatures(&stage->shelf, image);
	g_autofree char *other = shelf_signatures(&stage->shelf, stage->good);

	swap(stage, image, "commit");
	shelf_replace(&stage->shelf, path, other);
}

static const Scenario scenarios[] = {
	{"forged", REF, forge_signature, "0 of 1", false, false,
	 "an image whose signature has a bit changed is not started"},
	{"tooler", REF, sign_by_tooler, "tooler", false, false,
	 "an image signed by the release key of other refs is not started"},
	{"ops", REF, sign_by_ops, "ops", false, false,
	 "an image signed by a deploy key is not started"},
	{"stranger", REF, sign_by_stranger, "0 of 1", false, false,
	 "an image signed by a key that nobody trusts is not started"},
	{"unsigned", REF, leave_unsigned, "no signature", false, false,
	 "an image without a signature is not started"},
	{"unbound", NULL, sign_by_ci, "is bound to no ref", false, true,
	 "a well-signed image that is bound to no ref is not started"},
	{"other", "apps/other", sign_by_ci, "was built as apps/other", false, true,
	 "a well-signed image that is bound to another ref is not started"},
	{"commit", REF, flip_commit, "orrupted", false, false,
	 "an image with a byte of its commit changed is not started"},
	{"file", REF, flip_file, "Writing content object", false, false,
	 "an image with a byte of a file changed is not started"},
	{"dirtree", REF, flip_tree, "orrupted", false, false,
	 "an image with a byte of a directory's list changed is not started"},
	{"dirmeta", REF, flip_meta, "orrupted", false, false,
	 "an image with a byte of a directory's mode changed is not started"},
	{"missing", REF, lose_file, "404", true, false,
	 "an image of which an object is missing is not started"},
	{"content", REF, swap_file, "orrupted", false, false,
	 "an image with another file under an object's name is not started"},
	{"name", REF, swap_commit, "orrupted", false, false,
	 "another well-signed image under the name of the commit is not started"},
};

/* ---- what the agent said ---- */

static const DnNodeRecord *last_node(const Stage *stage, const char *service)
{
	const GPtrArray *facts = stage->keys.evil.facts;

	for (guint i = facts->len; i > 0; i--) {
		const DnFact *fact = facts->pdata[i - 1];

		if (fact->kind == DN_FACT_NODE && g_str_equal(fact->node->service, service))
			return fact->node;
	}
	return NULL;
}

/* The first event about @service that is a warning or worse. */
static const DnEvent *complaint(const Stage *stage, const char *service)
{
	const GPtrArray *facts = stage->keys.evil.facts;

	for (guint i = 0; i < facts->len; i++) {
		const DnFact *fact = facts->pdata[i];

		if (fact->kind == DN_FACT_EVENT && g_strcmp0(fact->event->service, service) == 0 &&
		    !g_str_equal(fact->event->severity, "info"))
			return fact->event;
	}
	return NULL;
}

/* No node of @service was ever further than being made, and each was complained of once. */
static bool never_started(const Stage *stage, const char *service)
{
	const GPtrArray *facts = stage->keys.evil.facts;
	g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < facts->len; i++) {
		const DnFact *fact = facts->pdata[i];

		if (fact->kind == DN_FACT_NODE && g_str_equal(fact->node->service, service) &&
		    fact->node->state != DN_NODE_CREATING && fact->node->state != DN_NODE_FAILED)
			return false;
		if (fact->kind == DN_FACT_EVENT && g_strcmp0(fact->event->service, service) == 0 &&
		    !g_hash_table_add(told, fact->event->node))
			return false;
	}
	return true;
}

static bool has_checkout(const Stage *stage, const ShelfImage *image)
{
	g_autofree char *path =
		g_build_filename(stage->keys.yard->state, "checkouts", image->commit, NULL);

	return access(path, F_OK) == 0;
}

typedef struct {
	const Stage *stage;
	const char *service;
} About;

static bool is_told(void *data)
{
	const About *about = data;

	return complaint(about->stage, about->service) != NULL;
}

static bool is_ready(void *data)
{
	const About *about = data;
	const DnNodeRecord *node = last_node(about->stage, about->service);

	return node != NULL && node->state == DN_NODE_READY;
}

/* ---- the play ---- */

/* Have the agent accept a manifest of @image and take one node of it as its share. */
static void assign(Stage *stage, const char *service, const ShelfImage *image)
{
	g_autofree char *sentence = g_strdup_printf("the manifest of %s is accepted", service);
	g_autofree char *vip = g_strdup_printf("10.99.0.%u", ++stage->vips);
	char *text = g_strdup_printf("dnode: v1\nservice: %s\nepoch: 1\n"
				     "image: {ref: " REF ", commit: %s}\n"
				     "listen: [{port: 8080, expose: 80}]\n"
				     "health: {http: /healthz, every: 250ms, rise: 1}\n"
				     "resources: {memory: 16MiB, cpu: 0.1, pids: 16, files: 64}\n",
				     service, image->commit);
	g_autoptr(GBytes) bytes = g_bytes_new_take(text, strlen(text));
	g_autofree char *digest = dn_digest_bytes(bytes);

	case_is_done(
		&stage->keys,
		case_manifest_order(&stage->keys, stage->keys.ops, g_bytes_ref(bytes), service, 1),
		sentence);
	DnOrder *share = case_share_order(&stage->keys, service, digest, 1);
	g_free(share->assign->vip);
	share->assign->vip = g_steal_pointer(&vip);
	case_is_done(&stage->keys, share, "and its share is taken");
}

static char *describe(const DnEvent *event, const DnNodeRecord *node)
{
	return g_strdup_printf("event %s %s '%s', last node %s", event ? event->severity : "-",
			       event ? event->kind : "none", event ? event->text : "",
			       node ? dn_node_state_name(node->state) : "none");
}

static void is_not_started(Stage *stage, const Scenario *scenario, const ShelfImage *image)
{
	About about = {.stage = stage, .service = scenario->service};
	g_autofree char *what = g_strdup_printf("image " REF " (%.12s): ", image->commit);

	assign(stage, scenario->service, image);
	bool told = yard_wait(is_told, &about, TOLD_S);
	const DnEvent *event = complaint(stage, scenario->service);
	g_autofree char *detail = describe(event, last_node(stage, scenario->service));
	bool is_right =
		told && case_is_one_line(event->text) && strstr(event->text, what) != NULL &&
		strstr(event->text, scenario->why) != NULL &&
		g_str_equal(event->kind, scenario->is_mishap ? "node.failed" : "image.refused") &&
		g_str_equal(event->severity, scenario->is_mishap ? "warning" : "critical");
	yard_check(is_right && never_started(stage, scenario->service) &&
			   !has_checkout(stage, image),
		   scenario->sentence, detail);
}

static void is_started(Stage *stage, const char *service, const char *sentence)
{
	About about = {.stage = stage, .service = service};
	bool started = yard_wait(is_ready, &about, STARTED_S);
	g_autofree char *detail = describe(complaint(stage, service), last_node(stage, service));

	yard_check(started, sentence, detail);
}

/* Put every image right that can be: the agent tries again by itself. */
static void test_repair(Stage *stage, ShelfImage *const *images)
{
	shelf_restore(&stage->shelf);
	for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++)
		sign_by_ci(stage, images[i]);
	for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
		g_autofree char *sentence =
			g_strdup_printf("once it is put right, %s starts", scenarios[i].service);

		if (!scenarios[i].is_lost)
			is_started(stage, scenarios[i].service, sentence);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++)
		if (scenarios[i].is_lost)
			yard_check(never_started(stage, scenarios[i].service) &&
					   !has_checkout(stage, images[i]),
				   "an image of another ref never starts", scenarios[i].service);
}

static void test_scenarios(Stage *stage)
{
	ShelfImage *images[G_N_ELEMENTS(scenarios)] = {NULL};

	for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
		images[i] = scenarios[i].ref != NULL ? shelf_build(&stage->shelf, scenarios[i].ref)
						     : shelf_build_unbound(&stage->shelf);
		scenarios[i].spoil(stage, images[i]);
		is_not_started(stage, &scenarios[i], images[i]);
	}
	test_repair(stage, images);
	const DnNodeRecord *node = last_node(stage, "good");
	yard_check(node != NULL && node->state == DN_NODE_READY && complaint(stage, "good") == NULL,
		   "a node of a sound image has served through all of it", NULL);
	yard_check(yard_count_log(stage->keys.yard, "nothing spare") == 0 &&
			   yard_count_log(stage->keys.yard, "Object exists") == 0,
		   "what was refused leaves nothing in the way of the next", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++)
		shelf_image_free(images[i]);
}

static void test_images(Yard *yard)
{
	Stage stage = {0};

	shelf_open(&stage.shelf, yard->folder);
	case_open(&stage.keys, yard);
	stage.keys.evil.welcome.repo = stage.shelf.url;
	case_enrol(&stage.keys);
	stage.good = shelf_build(&stage.shelf, REF);
	sign_by_ci(&stage, stage.good);
	assign(&stage, "good", stage.good);
	is_started(&stage, "good", "a sound image is started");
	test_scenarios(&stage);
	shelf_image_free(stage.good);
	case_close(&stage.keys);
	shelf_close(&stage.shelf);
}

int main(void)
{
	return yard_run(test_images);
}
