/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of dvpnd.conf as sections, keys and values, each with its line.
 * What the keys mean is conf_fields.h's business.
 */
#ifndef DVPND_CONF_TEXT_H
#define DVPND_CONF_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CONF_LINE_MAX 1000	   /* bytes of a line that is not a comment */
#define CONF_ENTRIES_MAX 4096u	   /* iniparser's dictionary is searched entry by entry */
#define CONF_FILE_MAX (1024 * 1024) /* bytes */

/* A section heading (key and value NULL), or a setting. */
struct conf_entry {
	char *section; /* lower case, blanks inside made one space */
	char *key;     /* lower case */
	char *value;   /* never empty; quotes and comment taken off */
	bool refused;  /* the line was wrong, and named: there is no value */
	unsigned line; /* from 1 */
};

struct conf_text {
	struct conf_entry *entries; /* in the order of the file */
	size_t count;
};

/*
 * Takes text apart.  Lines that are wrong are named on `errors`, each
 * "PATH:LINE: what is wrong; what to do", and left out of `text` or `refused`.
 * Returns how many there were; -1, named as well, where memory or the parser failed, or the
 * text is none.  Give `text` to conf_text_clear in any case.
 */
int conf_text_parse(struct conf_text *text, const char *bytes, size_t size, const char *path,
		    FILE *errors);
/* The entry of a setting, or of a section where key is NULL; NULL: there is none. */
struct conf_entry *conf_text_find(const struct conf_text *text, const char *section,
				  const char *key);
void conf_text_clear(struct conf_text *text);

/*
 * Reads a whole file of at most CONF_FILE_MAX bytes.  The bytes, to be freed;
 * NULL, and one line on `errors`.
 */
char *conf_text_load(const char *path, size_t *size, FILE *errors);

#endif
