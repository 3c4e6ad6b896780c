/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The content of the kernel sets.  In order of prefix_compare a prefix comes
 * straight before those inside it, and own prefixes, once those inside others
 * are gone, don't overlap: one binary search finds the only one that can
 * contain an address.
 */
#include "capture/entries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int entries_add(struct entries *entries, const struct prefix *prefix, bool nomatch)
{
	if (entries->count == entries->room) {
		size_t room = entries->room ? entries->room * 2 : 64;
		struct kset_entry *list = realloc(entries->list, room * sizeof(*list));

		if (!list)
			return -1;
		entries->list = list;
		entries->room = room;
	}
	entries->list[entries->count++] = (struct kset_entry){ *prefix, nomatch };
	return 0;
}

void entries_free(struct entries *entries)
{
	free(entries->list);
	*entries = (struct entries){ 0 };
}

/* The prefix comes first in struct kset_entry, so this compares entries too. */
static int compare(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

void entries_sort(struct entries *entries)
{
	size_t kept = 0;

	if (entries->count == 0)
		return;
	qsort(entries->list, entries->count, sizeof(entries->list[0]), compare);
	for (size_t i = 1; i < entries->count; i++)
		if (compare(&entries->list[kept], &entries->list[i]) != 0)
			entries->list[++kept] = entries->list[i];
	entries->count = kept + 1;
}

/* ---- building ---- */

static int add_halves(struct entries *entries, const struct prefix *prefix)
{
	struct prefix half = *prefix;

	if (prefix->length > 0)
		return entries_add(entries, prefix, false);
	half.length = 1;
	if (entries_add(entries, &half, false) < 0)
		return -1;
	half.addr.bytes[0] = 0x80;
	return entries_add(entries, &half, false);
}

static int add_all(struct entries *entries, const struct prefix *prefixes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (add_halves(entries, &prefixes[i]) < 0)
			return -1;
	entries_sort(entries);
	return 0;
}

static bool is_inside(const struct prefix *inner, const struct prefix *outer)
{
	return inner->length >= outer->length && prefix_contains(outer, &inner->addr);
}

static void drop_nested(struct entries *entries)
{
	size_t kept = 0;

	for (size_t i = 0; i < entries->count; i++)
		if (kept == 0 ||
		    !is_inside(&entries->list[i].prefix, &entries->list[kept - 1].prefix))
			entries->list[kept++] = entries->list[i];
	entries->count = kept;
}

/* Whether one of the disjoint own prefixes contains it. */
static bool is_own(const struct prefix *prefix, const struct entries *own)
{
	size_t low = 0, high = own->count;

	/* Past the last one that is not after the prefix. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (prefix_compare(&own->list[middle].prefix, prefix) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && is_inside(prefix, &own->list[low - 1].prefix);
}

static const struct kset_entry *find(const struct entries *entries, const struct prefix *prefix)
{
	if (entries->count == 0)
		return NULL;
	return bsearch(prefix, entries->list, entries->count, sizeof(entries->list[0]), compare);
}

/* Whether the longest entry around the prefix, itself aside, is one to match. */
static bool is_covered(const struct entries *entries, const struct prefix *prefix)
{
	for (unsigned length = prefix->length; length-- > 0;) {
		struct prefix around = prefix_around(&prefix->addr, length);
		const struct kset_entry *entry = find(entries, &around);

		if (entry)
			return !entry->nomatch;
	}
	return false;
}

static int subtract_own(struct entries *entries, const struct entries *own)
{
	size_t kept = 0;

	for (size_t i = 0; i < entries->count; i++)
		if (!is_own(&entries->list[i].prefix, own))
			entries->list[kept++] = entries->list[i];
	entries->count = kept;

	for (size_t i = 0; i < own->count; i++) {
		/* The exceptions that were appended are searched for only later. */
		struct entries remote = { entries->list, kept, kept };

		if (is_covered(&remote, &own->list[i].prefix) &&
		    entries_add(entries, &own->list[i].prefix, true) < 0)
			return -1;
	}
	entries_sort(entries);
	return 0;
}

int entries_build(struct entries *entries, const struct prefix *remote, size_t remote_count,
		  const struct prefix *own, size_t own_count)
{
	struct entries own_list = { 0 };
	int result = -1;

	if (add_all(&own_list, own, own_count) < 0 || add_all(entries, remote, remote_count) < 0)
		goto out;
	drop_nested(&own_list);
	result = subtract_own(entries, &own_list);
out:
	entries_free(&own_list);
	return result;
}

/* ---- comparing ---- */

bool entries_equal(const struct entries *a, const struct entries *b, int family)
{
	size_t i = 0, j = 0;

	for (;;) {
		while (i < a->count && a->list[i].prefix.addr.family != family)
			i++;
		while (j < b->count && b->list[j].prefix.addr.family != family)
			j++;
		if (i == a->count || j == b->count)
			return i == a->count && j == b->count;
		if (compare(&a->list[i], &b->list[j]) != 0 ||
		    a->list[i].nomatch != b->list[j].nomatch)
			return false;
		i++;
		j++;
	}
}

/* Whether the step of a merge over both lists, one of them NULL where it has
 * nothing at that prefix, is a gain. */
static bool is_gain(const struct kset_entry *old, const struct kset_entry *new,
		    const struct entries *after)
{
	if (!new)
		return old && old->nomatch && is_covered(after, &old->prefix);
	return !new->nomatch && (!old || old->nomatch);
}

int entries_gained(const struct entries *before, const struct entries *after,
		   struct prefix **gained, size_t *gained_count)
{
	struct prefix *list = calloc(before->count + after->count + 1, sizeof(*list));
	size_t i = 0, j = 0, count = 0;

	if (!list)
		return -1;
	while (i < before->count || j < after->count) {
		const struct kset_entry *old = i < before->count ? &before->list[i] : NULL;
		const struct kset_entry *new = j < after->count ? &after->list[j] : NULL;
		int order = !old ? 1 : !new ? -1 : compare(old, new);

		if (order > 0)
			old = NULL;
		if (order < 0)
			new = NULL;
		if (is_gain(old, new, after))
			list[count++] = new ? new->prefix : old->prefix;
		i += old != NULL;
		j += new != NULL;
	}
	*gained = list;
	*gained_count = count;
	return 0;
}

/* ---- text ---- */

size_t entry_format(const struct kset_entry *entry, const char *set, char text[ENTRY_TEXT_SIZE])
{
	char prefix[PREFIX_TEXT_SIZE];

	return snprintf(text, ENTRY_TEXT_SIZE, "add %s %s%s\n", set,
			prefix_format(&entry->prefix, prefix), entry->nomatch ? " nomatch" : "");
}

int entry_parse(const char *line, struct kset_entry *entry)
{
	char prefix[PREFIX_TEXT_SIZE], option[16] = "";
	const char *reason;
	struct addr addr;

	/* 49 is PREFIX_TEXT_SIZE - 1; what is longer fails to parse. */
	_Static_assert(PREFIX_TEXT_SIZE == 50, "the width below");
	if (sscanf(line, "add %*s %49s %15s", prefix, option) < 1)
		return -1;
	entry->nomatch = strcmp(option, "nomatch") == 0;
	if (strchr(prefix, '/'))
		return prefix_parse(prefix, &entry->prefix, &reason);
	if (addr_parse(prefix, &addr) < 0)
		return -1;
	entry->prefix = prefix_around(&addr, addr_bits(&addr));
	return 0;
}
