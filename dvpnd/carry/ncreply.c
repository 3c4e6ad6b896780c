/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of netcats: a table of words, first match wins. */
#include "carry/ncreply.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define OURS "dvpn-nc: "

static const struct {
	const char *word;
	enum stream_outcome outcome;
} own_results[] = {
	{ "connected", STREAM_OK },
	{ "refused", STREAM_REFUSED },
	{ "unreachable", STREAM_UNREACHABLE },
	{ "timed out", STREAM_TIMED_OUT },
	{ "denied", STREAM_DENIED },
	{ "usage", STREAM_BROKEN },
};

/* Seen from OpenBSD netcat 1.219 and 1.228, busybox 1.35 and 1.37, traditional 1.10, and shells. */
static const struct {
	const char *part;
	enum stream_outcome outcome;
} foreign_results[] = {
	{ " succeeded!", STREAM_OK },
	{ " open", STREAM_OK },
	{ "onnection refused", STREAM_REFUSED },
	{ "imed out", STREAM_TIMED_OUT },
	{ "timeout", STREAM_TIMED_OUT },
	{ "nreachable", STREAM_UNREACHABLE },
	{ "o route to host", STREAM_UNREACHABLE },
	{ "ermission denied", STREAM_BROKEN },
	{ "not found", STREAM_BROKEN },
	{ "o such file", STREAM_BROKEN },
	{ "nvalid option", STREAM_BROKEN },
	{ "sage:", STREAM_BROKEN },
};

static void keep_text(struct ncreply *reply)
{
	size_t i;

	for (i = 0; reply->line[i] && i < sizeof(reply->text) - 1; i++)
		reply->text[i] = isprint((unsigned char)reply->line[i]) ? reply->line[i] : '?';
	reply->text[i] = '\0';
}

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static void own_line(struct ncreply *reply, const char *rest)
{
	reply->ours = true;
	if (!strcmp(rest, "end")) {
		reply->ended = true;
		return;
	}
	if (!strcmp(rest, "reset")) {
		reply->reset = true;
		return;
	}
	if (reply->outcome != STREAM_PENDING)
		return;
	keep_text(reply);
	for (size_t i = 0; i < sizeof(own_results) / sizeof(own_results[0]); i++)
		if (begins(rest, own_results[i].word))
			reply->outcome = own_results[i].outcome;
}

static void foreign_line(struct ncreply *reply)
{
	if (reply->outcome != STREAM_PENDING)
		return;
	keep_text(reply);
	for (size_t i = 0; i < sizeof(foreign_results) / sizeof(foreign_results[0]); i++) {
		if (strstr(reply->line, foreign_results[i].part)) {
			reply->outcome = foreign_results[i].outcome;
			return;
		}
	}
}

static void end_line(struct ncreply *reply)
{
	reply->line[reply->length] = '\0';
	if (reply->length && reply->line[reply->length - 1] == '\r')
		reply->line[--reply->length] = '\0';
	if (reply->length) {
		if (begins(reply->line, OURS))
			own_line(reply, reply->line + strlen(OURS));
		else
			foreign_line(reply);
	}
	reply->length = 0;
}

void ncreply_feed(struct ncreply *reply, const void *data, size_t size)
{
	const char *bytes = data;

	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '\n')
			end_line(reply);
		else if (reply->length < sizeof(reply->line) - 1)
			reply->line[reply->length++] = bytes[i] ? bytes[i] : '?';
		/* of an overlong line the beginning is judged, the rest let go */
	}
}

void ncreply_finish(struct ncreply *reply)
{
	if (reply->length)
		end_line(reply);
}

enum stream_outcome ncreply_exit_outcome(int exit_status)
{
	switch (exit_status) {
	case 0:
		return STREAM_OK;
	case 1:
		return STREAM_REFUSED;
	case 2:
		return STREAM_UNREACHABLE;
	case 3:
		return STREAM_TIMED_OUT;
	case 4:
		return STREAM_DENIED;
	case 5:
		return STREAM_RESET;
	default:
		return STREAM_BROKEN;
	}
}
