// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The streams' places, the map from the near side's slots to them, and the lists
 * that they are on.  A place outlives its slot while a server still takes bytes;
 * there are some more places than streams for that, and when even those are
 * taken, the one whose server has been still for longest goes.
 */
#include <string.h>
#include <sys/mman.h>

#include "trunk_parts.h"

static size_t table_size(const struct trunk *trunk)
{
	return (trunk->places + 1) * sizeof(*trunk->streams);
}

int table_start(struct trunk *trunk, uint32_t descriptors)
{
	uint32_t most = TRUNK_STREAMS + TRUNK_STREAMS / TRUNK_PER_LINGERING;
	void *memory;

	trunk->places = descriptors < most ? descriptors : most;
	trunk->most = trunk->places - trunk->places / (TRUNK_PER_LINGERING + 1);
	trunk->fresh = 1;
	memory = mmap(NULL, table_size(trunk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	trunk->streams = memory;
	return 0;
}

void table_stop(struct trunk *trunk)
{
	if (trunk->streams)
		munmap(trunk->streams, table_size(trunk));
	trunk->streams = NULL;
}

uint16_t table_index(const struct trunk *trunk, const struct stream *stream)
{
	return (uint16_t)(stream - trunk->streams);
}

struct stream *table_find(struct trunk *trunk, uint32_t id)
{
	uint16_t index = trunk->map[id % FRAME_SLOTS];
	struct stream *stream = &trunk->streams[index];

	return index && stream->id == id ? stream : NULL;
}

struct stream *table_take(struct trunk *trunk, uint32_t id)
{
	uint16_t index = trunk->unused;
	struct stream *stream;

	if (index)
		trunk->unused = trunk->streams[index].links[0].next;
	else if (trunk->fresh <= trunk->places)
		index = (uint16_t)trunk->fresh++;
	else
		return NULL;
	stream = &trunk->streams[index];
	memset(stream, 0, sizeof(*stream));
	stream->id = id;
	trunk->map[id % FRAME_SLOTS] = index;
	trunk->mapped++;
	return stream;
}

void table_unmap(struct trunk *trunk, struct stream *stream)
{
	if (table_find(trunk, stream->id) != stream)
		return;
	trunk->map[stream->id % FRAME_SLOTS] = 0;
	trunk->mapped--;
}

void table_give(struct trunk *trunk, struct stream *stream)
{
	int kind;

	table_unmap(trunk, stream);
	for (kind = 0; kind < LIST_KINDS; kind++)
		list_remove(trunk, kind, stream);
	stream->state = STREAM_FREE;
	stream->links[0].next = trunk->unused;
	trunk->unused = table_index(trunk, stream);
}

/* ---- lists ---- */

static enum list_kind kind_of(enum trunk_list list)
{
	return list == LIST_NOTICES ? KIND_NOTICES :
	       list <= LIST_BULK    ? KIND_READING :
				      KIND_DEADLINE;
}

/* What comes before or behind: a stream's link, or the list's own. */
static struct link *link_at(struct trunk *trunk, enum trunk_list list, uint16_t index)
{
	return index ? &trunk->streams[index].links[kind_of(list)] : &trunk->lists[list];
}

void list_remove(struct trunk *trunk, enum list_kind kind, struct stream *stream)
{
	enum trunk_list list = stream->lists[kind];
	struct link *link = &stream->links[kind];

	if (list == LIST_NONE)
		return;
	link_at(trunk, list, link->previous)->next = link->next;
	link_at(trunk, list, link->next)->previous = link->previous;
	stream->lists[kind] = LIST_NONE;
}

void list_add(struct trunk *trunk, enum trunk_list list, struct stream *stream)
{
	enum list_kind kind = kind_of(list);
	struct link *head = &trunk->lists[list];
	uint16_t index = table_index(trunk, stream);

	list_remove(trunk, kind, stream);
	stream->links[kind].previous = head->previous;
	stream->links[kind].next = 0;
	link_at(trunk, list, head->previous)->next = index;
	head->previous = index;
	stream->lists[kind] = (uint8_t)list;
}

struct stream *list_first(struct trunk *trunk, enum trunk_list list)
{
	uint16_t index = trunk->lists[list].next;

	return index ? &trunk->streams[index] : NULL;
}
