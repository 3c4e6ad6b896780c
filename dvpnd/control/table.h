/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table written once and shown twice: aligned columns under a header line
 * for people, an array of objects for programs.
 *
 * The rows come from a function that is called twice when columns are to be
 * aligned (to measure, then to print): it must say the same both times.  It
 * gives each row's cells from left to right; the table knows where rows end.
 */
#ifndef DVPND_CONTROL_TABLE_H
#define DVPND_CONTROL_TABLE_H

#include "control/json.h"

#define TABLE_COLUMNS_MAX 12

struct column {
	const char *title; /* for people; NULL: not shown to them */
	const char *key;   /* for programs */
	bool right;	   /* aligned to the right: numbers */
};

enum table_pass { TABLE_MEASURE, TABLE_PRINT, TABLE_JSON };

struct table {
	/* private */
	FILE *out;
	struct json *json;
	const struct column *columns;
	unsigned column_count;
	enum table_pass pass;
	unsigned column;	 /* of the next cell */
	unsigned used;		 /* columns of the screen taken by the cell at work */
	unsigned pending;	 /* blanks owed before the next text of this row */
	bool listed;		 /* the list at work has an item */
	unsigned widths[TABLE_COLUMNS_MAX];
};

typedef void table_rows(struct table *table, const void *arg);

/* To `out` for people where `json` is NULL, else as member `key` of `json`. */
void table_write(FILE *out, struct json *json, const char *key, const struct column *columns,
		 unsigned column_count, table_rows *rows, const void *arg);

/* One cell each.  An empty text shows as "-". */
void table_text(struct table *table, const char *text);
void table_number(struct table *table, uint64_t number);
void table_signed(struct table *table, int64_t number);
void table_bytes(struct table *table, uint64_t bytes);
void table_age(struct table *table, double seconds);
/* Not known: "-" and null. */
void table_age_or_none(struct table *table, double seconds, bool known);
void table_bool(struct table *table, bool value); /* "yes", "no" */

/* A cell of several texts: "a,b", or an array. */
void table_list(struct table *table);
void table_list_item(struct table *table, const char *text);
void table_list_end(struct table *table);

#endif
