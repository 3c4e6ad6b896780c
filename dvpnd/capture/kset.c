/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's sets of remote prefixes, kept through ipset(8).
 *
 * An update is a reconciliation in two runs of `ipset restore`: the first makes
 * sure that both sets exist and reads them; where they differ from what is
 * wanted, the second fills a new set beside each and swaps the two, so that the
 * rules never see half a map.  Nothing is assumed about what an earlier run, a
 * crash or an operator left there.
 */
#include "capture/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/child.h"
#include "capture/entries.h"
#include "log.h"

#define RUN_TIMEOUT 60.0 /* seconds; a million prefixes take a few */

/* rules/dvpn-rules makes them with the same words. */
#define CREATE_V4 "create dvpn4 hash:net family inet maxelem 1048576 -exist\n"
#define CREATE_V6 "create dvpn6 hash:net family inet6 maxelem 1048576 -exist\n"

struct set {
	int family;
	const char *name; /* of the one that is being filled */
	const char *head, *tail;
};

static const struct set sets[2] = {
	{ AF_INET, "dvpn4-new",
	  "create dvpn4-new hash:net family inet maxelem 1048576 -exist\nflush dvpn4-new\n",
	  "swap dvpn4-new dvpn4\ndestroy dvpn4-new\n" },
	{ AF_INET6, "dvpn6-new",
	  "create dvpn6-new hash:net family inet6 maxelem 1048576 -exist\nflush dvpn6-new\n",
	  "swap dvpn6-new dvpn6\ndestroy dvpn6-new\n" },
};

struct update {
	struct entries wanted;
	kset_done *done;
	void *arg;
	bool pending;
};

enum kset_state { KSET_IDLE, KSET_READING, KSET_WRITING };

struct kset {
	struct ev_loop *loop;
	const char *path;
	enum kset_state state;
	struct child child;
	struct entries kernel; /* as read */
	bool out_of_memory;
	struct update current, next;
	/* How far the input of the second run was generated. */
	unsigned set;
	size_t entry;
	enum { PART_HEAD, PART_ENTRIES, PART_TAIL } part;
};

static int start_update(struct kset *kset);
static void fail(struct kset *kset, const char *error);

/* ---- the end of an update ---- */

static void update_free(struct update *update)
{
	entries_free(&update->wanted);
	update->pending = false;
}

static void finish(struct kset *kset, int result)
{
	struct update update = kset->current;
	struct prefix *gained = NULL;
	size_t gained_count = 0;

	if (result == 0 &&
	    entries_gained(&kset->kernel, &update.wanted, &gained, &gained_count) < 0) {
		log_errorx("kset: out of memory; connections that began before this update may "
			   "be refused until their clients try anew");
		result = -1;
	}
	entries_free(&kset->kernel);
	kset->current = (struct update){ 0 };
	kset->state = KSET_IDLE;
	update.done(result, gained, gained_count, update.arg);
	free(gained);
	entries_free(&update.wanted);
	/* Unless `done` began another one. */
	if (kset->state == KSET_IDLE && kset->next.pending && start_update(kset) < 0)
		fail(kset, strerror(errno));
}

static void log_failure(const char *error)
{
	log_errorx("kset: can't update the sets dvpn4 and dvpn6: %s; connections to new sites are "
		   "not captured; does dvpnd have CAP_NET_ADMIN? try: ipset list -t", error);
}

static void fail(struct kset *kset, const char *error)
{
	log_failure(error);
	finish(kset, -1);
}

/* ---- second run: write ---- */

/* The next bit of text, or NULL at the end. */
static const char *next_text(struct kset *kset, char line[ENTRY_TEXT_SIZE])
{
	const struct entries *wanted = &kset->current.wanted;

	while (kset->set < 2) {
		const struct set *set = &sets[kset->set];

		if (kset->part == PART_HEAD) {
			if (entries_equal(&kset->kernel, wanted, set->family)) {
				kset->set++;
				continue;
			}
			kset->part = PART_ENTRIES;
			kset->entry = 0;
			return set->head;
		}
		if (kset->part == PART_TAIL) {
			kset->part = PART_HEAD;
			kset->set++;
			return set->tail;
		}
		while (kset->entry < wanted->count) {
			const struct kset_entry *entry = &wanted->list[kset->entry++];

			if (entry->prefix.addr.family != set->family)
				continue;
			entry_format(entry, set->name, line);
			return line;
		}
		kset->part = PART_TAIL;
	}
	return NULL;
}

static size_t write_fill(char *buffer, size_t size, void *arg)
{
	struct kset *kset = arg;
	char line[ENTRY_TEXT_SIZE];
	const char *text;
	size_t used = 0;

	/* Head and tail are shorter than this, too. */
	while (size - used > 2 * ENTRY_TEXT_SIZE && (text = next_text(kset, line))) {
		size_t length = strlen(text);

		memcpy(buffer + used, text, length);
		used += length;
	}
	return used;
}

static void write_line(const char *line, void *arg)
{
	(void)line, (void)arg;
}

static void write_done(const char *error, void *arg)
{
	if (error)
		fail(arg, error);
	else
		finish(arg, 0);
}

/* ---- running ---- */

static int run(struct kset *kset, enum kset_state state)
{
	char *arguments[] = { "ipset", "restore", NULL };

	if (child_start(&kset->child, kset->loop, kset->path, arguments) < 0)
		return -1;
	kset->state = state;
	return 0;
}

static void start_write(struct kset *kset)
{
	kset->child.fill = write_fill;
	kset->child.line = write_line;
	kset->child.done = write_done;
	kset->set = 0;
	kset->part = PART_HEAD;
	if (run(kset, KSET_WRITING) < 0)
		fail(kset, strerror(errno));
}

/* ---- first run: read ---- */

static size_t read_fill(char *buffer, size_t size, void *arg)
{
	static const char script[] = CREATE_V4 CREATE_V6 "save dvpn4\nsave dvpn6\n";
	struct kset *kset = arg;

	if (kset->set++ > 0 || size < sizeof(script))
		return 0;
	memcpy(buffer, script, sizeof(script) - 1);
	return sizeof(script) - 1;
}

static void read_line(const char *line, void *arg)
{
	struct kset *kset = arg;
	struct kset_entry entry;

	if (entry_parse(line, &entry) == 0 &&
	    entries_add(&kset->kernel, &entry.prefix, entry.nomatch) < 0)
		kset->out_of_memory = true;
}

static void read_done(const char *error, void *arg)
{
	struct kset *kset = arg;
	const struct entries *wanted = &kset->current.wanted;

	if (kset->out_of_memory)
		error = "out of memory";
	if (error) {
		fail(kset, error);
		return;
	}
	entries_sort(&kset->kernel);
	if (entries_equal(&kset->kernel, wanted, AF_INET) &&
	    entries_equal(&kset->kernel, wanted, AF_INET6))
		finish(kset, 0);
	else
		start_write(kset);
}

/* Makes `next` the current one; 0, or -1 with errno. */
static int start_update(struct kset *kset)
{
	kset->current = kset->next;
	kset->next = (struct update){ 0 };
	kset->child.fill = read_fill;
	kset->child.line = read_line;
	kset->child.done = read_done;
	kset->set = 0;
	kset->out_of_memory = false;
	return run(kset, KSET_READING);
}

/* ---- entry points ---- */

static int wanted_from_routes(struct entries *wanted, const struct routes *routes,
			      const struct prefix *own, unsigned own_count)
{
	size_t count;
	const struct route *all = routes_all(routes, &count);
	struct prefix *remote = calloc(count ? count : 1, sizeof(*remote));
	int result;

	if (!remote)
		return -1;
	for (size_t i = 0; i < count; i++)
		remote[i] = all[i].prefix;
	result = entries_build(wanted, remote, count, own, own_count);
	free(remote);
	return result;
}

int kset_update(struct kset *kset, const struct routes *routes, const struct prefix *own,
		unsigned own_count, kset_done *done, void *arg)
{
	struct entries wanted = { 0 };

	if (wanted_from_routes(&wanted, routes, own, own_count) < 0) {
		entries_free(&wanted);
		log_errorx("kset: out of memory; the sets dvpn4 and dvpn6 stay as they are");
		errno = ENOMEM;
		return -1;
	}
	update_free(&kset->next);
	kset->next = (struct update){ wanted, done, arg, true };
	if (kset->state == KSET_IDLE && start_update(kset) < 0) {
		log_failure(strerror(errno));
		update_free(&kset->current);
		return -1;
	}
	return 0;
}

struct kset *kset_start(struct ev_loop *loop)
{
	static const char *const places[] = { "/usr/sbin/ipset", "/sbin/ipset", "/usr/bin/ipset",
					      "/bin/ipset" };
	struct kset *kset = calloc(1, sizeof(*kset));

	if (!kset) {
		log_warn("kset: can't start");
		return NULL;
	}
	kset->loop = loop;
	kset->child.arg = kset;
	kset->child.timeout = RUN_TIMEOUT;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !kset->path; i++)
		if (access(places[i], X_OK) == 0)
			kset->path = places[i];
	if (kset->path)
		return kset;
	log_errorx("kset: there is no ipset in /usr/sbin, /sbin, /usr/bin or /bin, so the rules "
		   "could not know the prefixes; install it: apt-get install ipset");
	free(kset);
	return NULL;
}

void kset_stop(struct kset *kset)
{
	if (!kset)
		return;
	if (kset->state != KSET_IDLE)
		child_stop(&kset->child);
	update_free(&kset->current);
	update_free(&kset->next);
	entries_free(&kset->kernel);
	free(kset);
}
