/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of every key of dvpnd.conf: where it belongs, what it may be, its
 * default.  Parsing, checking, printing and comparing all walk this table.
 */
#ifndef DVPND_CONF_FIELDS_H
#define DVPND_CONF_FIELDS_H

#include <stdbool.h>

#include "conf.h"

#define CONF_REASON_SIZE 320

struct conf_field;

/* How a type of value is read, printed and freed. */
struct conf_type {
	/* Sets an unset value.  0; -1 and a reason such as "'x' is no number". */
	int (*parse)(const struct conf_field *field, const char *text, void *value,
		     char reason[CONF_REASON_SIZE]);
	/* What parse reads back the same; nothing for an empty list or no string. */
	void (*print)(const struct conf_field *field, const void *value, FILE *out);
	/* Frees and unsets.  A type that has it begins with a pointer, NULL while
	 * unset; NULL: nothing to free, and always set. */
	void (*clear)(void *value);
};

struct conf_field {
	const char *section;
	const char *key;
	const struct conf_type *type;
	size_t offset;	      /* in struct conf; in struct conf_ssh where ssh_bit is set */
	const char *fallback; /* the default, as text; NULL: none */
	const char *hint;     /* what to write, for error messages */
	unsigned long min, max; /* of a number */
	uint32_t ssh_bit;     /* CONF_SSH_*: a key of [ssh], and of [gateway NAME] */
	bool restart;	      /* a running daemon can't take a new value over */
};

const struct conf_field *conf_fields(size_t *count);

/* NULL where the section has no such key. */
const struct conf_field *conf_field_find(const char *section, const char *key);
bool conf_section_known(const char *section);

/* The known name that is most like a wrong one; never NULL in a known section. */
const char *conf_nearest_section(const char *name);
const char *conf_nearest_key(const char *section, const char *key);
/* Another section that has this key, or NULL. */
const char *conf_other_section(const char *section, const char *key);

/* Where the value of a field lies; `ssh` is that of [ssh] or of one gateway. */
void *conf_field_value(const struct conf_field *field, struct conf *conf, struct conf_ssh *ssh);

#endif
