/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The content of the kernel sets as a sorted list: computed, compared, and in
 * the text that ipset(8) reads and writes.  No I/O.
 */
#ifndef DVPND_CAPTURE_ENTRIES_H
#define DVPND_CAPTURE_ENTRIES_H

#include "map/addr.h"

/* `nomatch`: an exception inside a wider entry. */
struct kset_entry {
	struct prefix prefix;
	bool nomatch;
};

struct entries {
	struct kset_entry *list;
	size_t count;
	/* private */
	size_t room;
};

/* Appends; 0, or -1 where memory is short. */
int entries_add(struct entries *entries, const struct prefix *prefix, bool nomatch);
/* Into order of prefix, each prefix once. */
void entries_sort(struct entries *entries);
void entries_free(struct entries *entries); /* the list, which becomes empty */

/*
 * What the sets must hold to capture `remote` but not `own`, sorted, into an
 * empty list.  A remote prefix inside an own one is left out; an own one inside
 * a remote one becomes an exception; a prefix of length 0, which hash:net does
 * not take, becomes its two halves.  0, or -1 where memory is short.
 */
int entries_build(struct entries *entries, const struct prefix *remote, size_t remote_count,
		  const struct prefix *own, size_t own_count);

bool entries_equal(const struct entries *a, const struct entries *b, int family);

/* What is captured with `after` and was not so with `before`, both sorted: new
 * prefixes, and those that are exceptions no longer.  The caller frees *gained.
 * 0, or -1 where memory is short. */
int entries_gained(const struct entries *before, const struct entries *after,
		   struct prefix **gained, size_t *gained_count);

#define ENTRY_TEXT_SIZE (PREFIX_TEXT_SIZE + 64)
/* "add SET 10.8.0.0/16\n", with " nomatch" for an exception.  Its length. */
size_t entry_format(const struct kset_entry *entry, const char *set, char text[ENTRY_TEXT_SIZE]);
/* Such a line, of any set, without its newline; 0, or -1 where it is another. */
int entry_parse(const char *line, struct kset_entry *entry);

#endif
