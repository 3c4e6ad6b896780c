/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A JSON writer: commas, nesting and escaping; nothing else.
 *
 * `key` is NULL inside an array and for the outermost value.  Errors stay in
 * the stream: ask ferror(out) at the end.
 */
#ifndef DVPND_CONTROL_JSON_H
#define DVPND_CONTROL_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16

struct json {
	FILE *out;
	/* private */
	unsigned depth;
	bool filled[JSON_DEPTH_MAX]; /* has this level a member already? */
};

void json_init(struct json *json, FILE *out);

void json_object(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_array(struct json *json, const char *key);
void json_array_end(struct json *json);

/* Bytes that are no UTF-8 become U+FFFD; what could steer a terminal is
 * escaped, so that the text is safe to print as it is.  NULL is null. */
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, uint64_t number);
void json_signed(struct json *json, const char *key, int64_t number);
void json_seconds(struct json *json, const char *key, double seconds); /* milliseconds kept */
void json_bool(struct json *json, const char *key, bool value);

#endif
