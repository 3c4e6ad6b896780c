/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text for people.  Gateways' error messages and map lines come from others:
 * what is printed to an operator's terminal must not be able to move its cursor.
 */
#include "control/text.h"

#include <inttypes.h>
#include <stdbool.h>

/* Continuation bytes that follow this first byte, or -1. */
static int followers(unsigned char first)
{
	if (first < 0x80)
		return 0;
	if (first >= 0xc2 && first <= 0xdf)
		return 1;
	if (first >= 0xe0 && first <= 0xef)
		return 2;
	if (first >= 0xf0 && first <= 0xf4)
		return 3;
	return -1;
}

unsigned text_decode(const char *text, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	unsigned char first = (unsigned char)*text;
	int count = followers(first);
	uint32_t value;

	if (count < 0)
		return 0;
	value = count == 0 ? first : first & (0x3fu >> count);
	for (int i = 1; i <= count; i++) {
		unsigned char next = (unsigned char)text[i];

		if ((next & 0xc0) != 0x80)
			return 0; /* the terminating zero ends here too */
		value = value << 6 | (next & 0x3f);
	}
	if (value < least[count] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*code = value;
	return (unsigned)count + 1;
}

bool text_steers(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f) || /* C0, DEL, C1 */
	       (code >= 0x200b && code <= 0x200f) ||		/* zero width, marks */
	       (code >= 0x2028 && code <= 0x202e) ||		/* separators, embeddings */
	       (code >= 0x2060 && code <= 0x206f) ||		/* isolates, invisible */
	       code == 0xfeff || code == 0x61c;
}

static unsigned print_escaped(FILE *out, uint32_t value, bool wide)
{
	char text[16];
	int length;

	if (wide)
		length = snprintf(text, sizeof(text), "\\u{%" PRIx32 "}", value);
	else
		length = snprintf(text, sizeof(text), "\\x%02" PRIx32, value);
	if (out)
		fputs(text, out);
	return (unsigned)length;
}

unsigned text_print(FILE *out, const char *text)
{
	unsigned columns = 0, length;
	uint32_t code = 0;

	for (; *text; text += length ? length : 1) {
		length = text_decode(text, &code);
		if (length == 0) {
			columns += print_escaped(out, (unsigned char)*text, false);
		} else if (text_steers(code)) {
			columns += print_escaped(out, code, code >= 0x80);
		} else if (code == '\\') { /* or else an honest text could look escaped */
			columns += 2;
			if (out)
				fputs("\\\\", out);
		} else {
			columns++;
			if (out)
				fwrite(text, 1, length, out);
		}
	}
	return columns;
}

const char *text_bytes(uint64_t bytes, char text[TEXT_NUMBER_SIZE])
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes;
	unsigned unit = 0;

	if (bytes < 1024) {
		snprintf(text, TEXT_NUMBER_SIZE, "%u", (unsigned)bytes);
		return text;
	}
	/* 1023.95 would be printed as 1024.0 of the smaller unit. */
	for (value /= 1024; value >= 1023.95 && units[unit + 1]; unit++)
		value /= 1024;
	snprintf(text, TEXT_NUMBER_SIZE, "%.1f%c", value, units[unit]);
	return text;
}

const char *text_age(double seconds, char text[TEXT_NUMBER_SIZE])
{
	unsigned long long whole;

	if (!(seconds > 0))
		seconds = 0;
	if (seconds > 1e12)
		seconds = 1e12;
	whole = (unsigned long long)seconds;
	if (seconds < 9.95)
		snprintf(text, TEXT_NUMBER_SIZE, "%.1fs", seconds);
	else if (whole < 60)
		snprintf(text, TEXT_NUMBER_SIZE, "%llus", whole < 10 ? 10 : whole);
	else if (whole < 3600)
		snprintf(text, TEXT_NUMBER_SIZE, "%llum%02llus", whole / 60, whole % 60);
	else if (whole < 86400)
		snprintf(text, TEXT_NUMBER_SIZE, "%lluh%02llum", whole / 3600, whole / 60 % 60);
	else
		snprintf(text, TEXT_NUMBER_SIZE, "%llud%02lluh", whole / 86400, whole / 3600 % 24);
	return text;
}
