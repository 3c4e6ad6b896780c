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

/* Seen from OpenBSD netcat 1.219 and 1.228, busybox 1.35 and 1.37, traditional 1.10, and shells.
 * Words of success end their line: "cannot open …" is none. */
static const struct {
	const char *part;
	enum stream_outcome outcome;
} foreign_results[] = {
	{ " succeeded!", STREAM_OK },
	{ " open", STREAM_OK },
	{ "onnection refused", STREAM_REFUSED },
	{ "imed out", STREAM_TIMED_OUT },
	{ "nreachable", STREAM_UNREACHABLE },
	{ "o route to host", STREAM_UNREACHABLE },
	/* whatever else connect(2) fails with: a prohibited route, a firewall */
	{ " (tcp) failed: ", STREAM_UNREACHABLE },
	{ "can't connect to remote host", STREAM_UNREACHABLE },
	{ "ermission denied", STREAM_BROKEN },
	{ "not found", STREAM_BROKEN },
	{ "o such file", STREAM_BROKEN },
	{ "nvalid option", STREAM_BROKEN },
	{ "sage:", STREAM_BROKEN },
};

/* sshd and shells complain so and go on: the result is still to come. */
static const char *const foreign_noise[] = {
	"Could not chdir to home directory",
	"arning: ",
	"getcwd",
};

static void keep_text(struct ncreply *reply)
{
	size_t i;

	for (i = 0; i < sizeof(reply->text) - 1 && reply->line[i]; i++)
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

static bool is_noise(const char *line)
{
	for (size_t i = 0; i < sizeof(foreign_noise) / sizeof(foreign_noise[0]); i++)
		if (strstr(line, foreign_noise[i]))
			return true;
	return false;
}

/* A line that fills the buffer may have been cut: nobody knows how it ends. */
static bool ends(const struct ncreply *reply, const char *with)
{
	size_t size = strlen(with);

	return reply->length >= size && reply->length < sizeof(reply->line) - 1 &&
	       !strcmp(reply->line + reply->length - size, with);
}

static void foreign_line(struct ncreply *reply)
{
	if (reply->outcome != STREAM_PENDING)
		return;
	keep_text(reply);
	if (is_noise(reply->line))
		return;
	for (size_t i = 0; i < sizeof(foreign_results) / sizeof(foreign_results[0]); i++) {
		const char *part = foreign_results[i].part;
		bool success = foreign_results[i].outcome == STREAM_OK;

		if (success ? ends(reply, part) : strstr(reply->line, part) != NULL) {
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
