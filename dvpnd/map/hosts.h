/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The grammar of the map files: hosts(5) lines that know their gateway.
 *
 * A reader walks over a text in memory and gives one line at a time, taken
 * apart and checked, or the reason why it is refused.  What several lines mean
 * together (sites, owners) is build.c's.  No I/O, no allocation.
 */
#ifndef DVPND_MAP_HOSTS_H
#define DVPND_MAP_HOSTS_H

#include "map/routes.h"

/* Bounds of one line; a site may have as many lines as it wants. */
#define HOSTS_LINE_MAX 65536 /* bytes, without the newline */
#define HOSTS_NAMES_MAX 256
#define HOSTS_PREFIXES_MAX 1024
#define HOSTS_ENDPOINTS_MAX 16

#define HOSTS_PREF_MAX 1000 /* and -1000 at the other end */

/* One text: a whole map file.  `path` is for messages and origins. */
struct hosts_text {
	const char *path;
	const char *text;
	size_t size;
	bool learned; /* the exchange's file, which may say less than the operator's */
};

/* Strings live in the reader until its next line.  Names, and hosts of
 * endpoints, are in lower case. */
struct hosts_line {
	unsigned number;	   /* from 1 */
	const char *text;	   /* the line as it stands in the file, … */
	size_t size;		   /* … without its newline */
	struct addr addr;
	const char *names[HOSTS_NAMES_MAX]; /* at least one; the first is the site's */
	unsigned name_count;

	bool gateway; /* has a `#!`; what follows is empty where not */
	struct prefix prefixes[HOSTS_PREFIXES_MAX]; /* at least one */
	unsigned prefix_count;
	struct endpoint endpoints[HOSTS_ENDPOINTS_MAX];
	unsigned endpoint_count;
	const char *user, *netcat, *hostkey; /* NULL where not given */
	enum ssh_mode mode;
	int pref;
	bool pref_given;

	char reason[256]; /* why the line is refused */
};

enum hosts_result { HOSTS_END, HOSTS_LINE, HOSTS_BAD };

/* About 90 KiB: not for the stack. */
struct hosts_reader {
	struct hosts_line line; /* of the last call of hosts_next */
	/* private */
	struct hosts_text source;
	unsigned prefix_length;
	size_t next;
	char buffer[HOSTS_LINE_MAX + 1];
};

/* `prefix_length`: of IPv4 addresses on lines that name no prefix.  The text
 * must outlive the reader. */
void hosts_reader_init(struct hosts_reader *reader, const struct hosts_text *source,
		       unsigned prefix_length);

/* The next line that is neither blank nor a comment.  HOSTS_BAD: refused, with
 * line.number, line.text and line.reason set and nothing else of use. */
enum hosts_result hosts_next(struct hosts_reader *reader);

#endif
