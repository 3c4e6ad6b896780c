/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a netcat's stderr: the first byte says in what pieces they come.
 * Checked besides crashes: pieces make no difference, the text is printable, and
 * nothing is taken back that was once told.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "carry/ncreply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check(const struct ncreply *reply, const struct ncreply *before)
{
	must(reply->outcome <= STREAM_LOST);
	must(before->outcome == STREAM_PENDING ||
	     (reply->outcome == before->outcome && !strcmp(reply->text, before->text)));
	must(reply->ours >= before->ours && reply->ended >= before->ended &&
	     reply->reset >= before->reset);
	must(reply->ours || (!reply->ended && !reply->reset && reply->outcome != STREAM_DENIED));
	must(memchr(reply->text, '\0', sizeof(reply->text)) != NULL);
	for (const char *c = reply->text; *c; c++)
		must(*c >= ' ' && *c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ncreply whole = { 0 }, pieces = { 0 };
	size_t piece;

	if (size == 0)
		return 0;
	piece = data[0] % 64 + 1;
	data++, size--;
	ncreply_feed(&whole, data, size);
	ncreply_finish(&whole);
	for (size_t at = 0; at < size; at += piece) {
		struct ncreply before = pieces;

		ncreply_feed(&pieces, data + at, piece < size - at ? piece : size - at);
		check(&pieces, &before);
	}
	ncreply_finish(&pieces);
	check(&pieces, &whole);
	must(pieces.outcome == whole.outcome && !strcmp(pieces.text, whole.text));
	must(pieces.ours == whole.ours && pieces.ended == whole.ended &&
	     pieces.reset == whole.reset);
	return 0;
}
