/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A JSON writer.  It owns the commas and the escaping, so that no report can
 * get them wrong.
 */
#include "control/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#include "control/text.h"

void json_init(struct json *json, FILE *out)
{
	*json = (struct json){ .out = out };
}

static void write_unit(FILE *out, uint32_t unit)
{
	fprintf(out, "\\u%04" PRIx32, unit);
}

static void write_character(FILE *out, const char *text, unsigned length, uint32_t code)
{
	if (code == '"' || code == '\\')
		fprintf(out, "\\%c", (char)code);
	else if (code == '\n')
		fputs("\\n", out);
	else if (code == '\t')
		fputs("\\t", out);
	else if (text_steers(code)) /* all of these are below U+10000 */
		write_unit(out, code);
	else
		fwrite(text, 1, length, out);
}

static void write_string(FILE *out, const char *text)
{
	unsigned length;
	uint32_t code = 0;

	putc('"', out);
	for (; *text; text += length ? length : 1) {
		length = text_decode(text, &code);
		if (length)
			write_character(out, text, length, code);
		else
			write_unit(out, 0xfffd);
	}
	putc('"', out);
}

/* The comma before a member, where it is not the first, and its name. */
static void begin_member(struct json *json, const char *key)
{
	if (json->filled[json->depth])
		putc(',', json->out);
	json->filled[json->depth] = true;
	if (key) {
		write_string(json->out, key);
		putc(':', json->out);
	}
}

static void open_level(struct json *json, const char *key, char bracket)
{
	begin_member(json, key);
	assert(json->depth + 1 < JSON_DEPTH_MAX);
	json->filled[++json->depth] = false;
	putc(bracket, json->out);
}

static void close_level(struct json *json, char bracket)
{
	assert(json->depth > 0);
	json->depth--;
	putc(bracket, json->out);
}

void json_object(struct json *json, const char *key)
{
	open_level(json, key, '{');
}

void json_object_end(struct json *json)
{
	close_level(json, '}');
}

void json_array(struct json *json, const char *key)
{
	open_level(json, key, '[');
}

void json_array_end(struct json *json)
{
	close_level(json, ']');
}

void json_text(struct json *json, const char *key, const char *text)
{
	begin_member(json, key);
	if (text)
		write_string(json->out, text);
	else
		fputs("null", json->out);
}

void json_number(struct json *json, const char *key, uint64_t number)
{
	begin_member(json, key);
	fprintf(json->out, "%" PRIu64, number);
}

void json_signed(struct json *json, const char *key, int64_t number)
{
	begin_member(json, key);
	fprintf(json->out, "%" PRId64, number);
}

void json_seconds(struct json *json, const char *key, double seconds)
{
	begin_member(json, key);
	if (isfinite(seconds)) /* JSON has no word for the others */
		fprintf(json->out, "%.3f", seconds);
	else
		fputs("null", json->out);
}

void json_bool(struct json *json, const char *key, bool value)
{
	begin_member(json, key);
	fputs(value ? "true" : "false", json->out);
}
