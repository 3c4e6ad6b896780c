/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The map files on disk: reads them, and tells when they have changed.
 *
 * For the main thread.  Reading builds a new snapshot and changes nothing
 * else; who asked for it decides whether to put it in force.
 */
#ifndef DVPND_MAPFILES_H
#define DVPND_MAPFILES_H

#include <ev.h>
#include <stdio.h>

#include "conf.h"
#include "map/routes.h"

#define MAPFILES_SIZE_MAX (64u << 20) /* bytes of one file */

struct mapfiles;

/* A file was written, replaced, made or removed: at most once in 100 ms. */
typedef void mapfiles_changed(void *arg);

/* Watches the two files of [map] from now on; call it before the first load,
 * so that no change falls between.  NULL, and a log line, where memory is
 * short.  Where watching can't be had a line in the log says so, and all else
 * works. */
struct mapfiles *mapfiles_start(struct ev_loop *loop, const struct conf *conf,
				mapfiles_changed *changed, void *arg);
void mapfiles_stop(struct mapfiles *mapfiles); /* takes NULL */

/* What was loaded last is in force: changes that it has seen are not told any more.  Also
 * follows a new config, or directories made since.  Call it after each reload. */
void mapfiles_update(struct mapfiles *mapfiles, const struct conf *conf);

/*
 * Reads both files into a new snapshot, of which the caller owns one reference.
 * What is wrong goes to `errors` (may be NULL), one line each, and is counted in
 * *bad_lines (may be NULL), a file that can't be read as one.  Such a file keeps
 * the text that was read last; a missing learned file is an empty one, and no
 * error.  NULL only where memory is short.  `mapfiles` may be NULL: nothing is
 * kept then, as for checking the config.
 */
struct routes *mapfiles_load(struct mapfiles *mapfiles, const struct conf *conf, FILE *errors,
			     unsigned *bad_lines);

#endif
