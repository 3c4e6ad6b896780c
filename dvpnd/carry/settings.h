/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker has to know to reach one gateway: the map's line, [ssh] and
 * [gateway NAME] merged, copied so that it outlives the snapshots it came from.
 *
 * A [gateway NAME] field beats the map's line, the line beats [ssh].  Counted,
 * but within one thread only: gateway and links share it.
 */
#ifndef DVPND_CARRY_SETTINGS_H
#define DVPND_CARRY_SETTINGS_H

#include "conf.h"
#include "map/routes.h"

struct settings {
	unsigned references;
	char *site; /* name */
	struct endpoint *endpoints; /* ports filled in */
	unsigned endpoint_count;
	char *hostkey; /* "SHA256:…" or NULL */
	struct conf_ssh ssh;
};

/* NULL where memory is out. */
struct settings *settings_make(const struct conf *conf, const struct site *site);
struct settings *settings_get(struct settings *settings);
void settings_put(struct settings *settings); /* takes NULL */
/* Whether links made with one serve as well as links made with the other. */
bool settings_same(const struct settings *a, const struct settings *b);

#endif
