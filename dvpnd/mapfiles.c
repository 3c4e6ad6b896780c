/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The map files on disk.  Owns the texts as they were read last, and the watch.
 *
 * The directories are watched, not the files: a file that is replaced by rename,
 * as editors and the exchange do, is another file afterwards.  What is a link
 * is also watched where it leads to.  Nothing wakes up while nothing changes.
 */
#include "mapfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "map/build.h"

#define SETTLE_SECONDS 0.1 /* many events, one reading */
#define HEAP_MAX (128 * 1024) /* bytes; larger blocks are mapped, see keep_heap_small */
#define FILES 2		   /* the operator's and the learned one */
#define WATCHES (2 * FILES) /* where a file is said to be, and where its link leads */

/* Not IN_CREATE alone: a file that was just made is still empty, and will be closed. */
#define WATCH_EVENTS \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct file {
	char *path; /* NULL: nothing was read yet */
	char *text;
	size_t size;
};

struct watch {
	int wd; /* -1: none; two watches of one directory have the same */
	char *path; /* the file's, NULL: none */
};

struct mapfiles {
	struct ev_loop *loop;
	mapfiles_changed *changed;
	void *arg;
	struct file files[FILES];
	struct watch watches[WATCHES];
	int inotify; /* -1: can't be had */
	ev_io readable;
	ev_timer settle;
	unsigned events, events_read; /* that matter: seen, and seen before the last reading */
	bool missing_said;
};

/* ---- reading ---- */

static void file_forget(struct file *file)
{
	free(file->path);
	free(file->text);
	memset(file, 0, sizeof(*file));
}

/* All of an open file; NULL with errno.  The size is a guess: it may be growing. */
static char *read_all(int fd, size_t guess, size_t *size)
{
	size_t capacity = guess + 1;
	char *text = malloc(capacity), *larger;
	ssize_t got;

	for (*size = 0; text; *size += (size_t)got) {
		if (*size == capacity) {
			larger = realloc(text, capacity *= 2);
			if (!larger)
				break;
			text = larger;
		}
		got = read(fd, text + *size, capacity - *size);
		if (got == 0)
			return text;
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got < 0)
			break;
		if (*size + (size_t)got > MAPFILES_SIZE_MAX) {
			errno = EFBIG;
			break;
		}
	}
	free(text);
	return NULL;
}

/* Reads a file by name; NULL with errno.  Never waits: a FIFO is refused. */
static char *read_path(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error;
	struct stat st;
	char *text = NULL;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st))
		goto out;
	if (!S_ISREG(st.st_mode))
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	else if (st.st_size > (off_t)MAPFILES_SIZE_MAX)
		errno = EFBIG;
	else
		text = read_all(fd, (size_t)st.st_size, size);
out:
	error = errno;
	close(fd);
	errno = error;
	return text;
}

static void report_unreadable(FILE *errors, const char *path, int error, bool kept)
{
	const char *cause = error == EINVAL ? "it is no regular file" :
			    error == EFBIG  ? "it is larger than 64 MiB" : strerror(error);
	const char *remedy = error == EACCES ? "give the daemon's user read access" :
			     error == ENOENT ? "see hosts.example for one to start with" :
					       "look at it with ls -l";

	if (errors)
		fprintf(errors, "%s: can't read the map: %s; %s%s\n", path, cause,
			kept ? "what was read before stays in force; " : "", remedy);
}

/* 0; -1 where the file can't be read, and *file is as it was or, of another
 * path than before, empty. */
static int file_read(struct file *file, const char *path, bool learned, FILE *errors)
{
	char *copy = strdup(path), *text = NULL;
	size_t size = 0;

	if (copy)
		text = read_path(path, &size);
	if (!text && errno == ENOENT && learned)
		text = calloc(1, 1);
	if (!copy || !text) {
		int error = errno;

		free(copy);
		if (file->path && strcmp(file->path, path) != 0)
			file_forget(file);
		report_unreadable(errors, path, error, file->path != NULL);
		return -1;
	}
	file_forget(file);
	file->path = copy;
	file->text = text;
	file->size = size;
	return 0;
}

/* ---- watching ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A new name that gets no IN_CLOSE_WRITE: a symbolic or a further hard link. */
static bool is_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && (S_ISLNK(st.st_mode) || st.st_nlink > 1);
}

static bool event_matters(const struct mapfiles *mapfiles, const struct inotify_event *event)
{
	size_t i;

	if (event->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF))
		return true;
	for (i = 0; i < WATCHES; i++) {
		const struct watch *watch = &mapfiles->watches[i];

		if (watch->wd != event->wd || event->len == 0 ||
		    strcmp(event->name, base_name(watch->path)) != 0)
			continue;
		if (!(event->mask & IN_CREATE) || is_link(watch->path))
			return true;
	}
	return false;
}

/* One call: what is left makes the loop call again. */
static void take_events(struct mapfiles *mapfiles)
{
	_Alignas(struct inotify_event) char buffer[16384];
	const struct inotify_event *event;
	ssize_t got, at;

	got = read(mapfiles->inotify, buffer, sizeof(buffer));
	for (at = 0; at < got; at += (ssize_t)(sizeof(*event) + event->len)) {
		event = (const struct inotify_event *)(buffer + at);
		if (!event_matters(mapfiles, event))
			continue;
		mapfiles->events++;
		/* The timer runs from the first event: constant writing can't put it off. */
		if (!ev_is_active(&mapfiles->settle)) {
			ev_timer_set(&mapfiles->settle, SETTLE_SECONDS, 0.);
			ev_timer_start(mapfiles->loop, &mapfiles->settle);
		}
	}
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	take_events(io->data);
}

static void on_settled(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mapfiles *mapfiles = timer->data;

	(void)loop;
	(void)revents;
	mapfiles->changed(mapfiles->arg);
}

/* The descriptor of the watch on the directory of a file, -1 where there is none. */
static int watch_directory(struct mapfiles *mapfiles, const char *path)
{
	char *copy = strdup(path);
	int wd = -1;

	if (!copy)
		return -1;
	wd = inotify_add_watch(mapfiles->inotify, dirname(copy), WATCH_EVENTS);
	if (wd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		if (!mapfiles->missing_said)
			log_info("%s: its directory does not exist, so changes are seen only on "
				 "reload (SIGHUP)", path);
		mapfiles->missing_said = true;
	} else if (wd < 0) {
		log_warn("%s: can't watch for changes; reload by hand (SIGHUP), or raise "
			 "fs.inotify.max_user_watches", path);
	}
	free(copy);
	return wd;
}

/* The files to watch: as named, and behind links.  Allocates; NULL for none. */
static void watch_paths(const struct conf *conf, char *paths[WATCHES])
{
	const char *const named[FILES] = { conf->map_static, conf->map_learned };
	size_t i;

	for (i = 0; i < FILES; i++) {
		paths[2 * i] = strdup(named[i]);
		paths[2 * i + 1] = realpath(named[i], NULL);
		if (paths[2 * i + 1] && strcmp(paths[2 * i + 1], named[i]) == 0) {
			free(paths[2 * i + 1]);
			paths[2 * i + 1] = NULL;
		}
	}
}

static bool is_watched(const struct watch *watches, int wd)
{
	size_t i;

	for (i = 0; i < WATCHES; i++)
		if (watches[i].wd == wd)
			return true;
	return false;
}

/* Watches what conf says and no more.  Returns whether a directory is new. */
static bool watch_all(struct mapfiles *mapfiles, const struct conf *conf)
{
	struct watch old[WATCHES];
	char *paths[WATCHES];
	bool gained = false;
	size_t i;

	memcpy(old, mapfiles->watches, sizeof(old));
	watch_paths(conf, paths);
	for (i = 0; i < WATCHES; i++) {
		mapfiles->watches[i].path = paths[i];
		mapfiles->watches[i].wd = paths[i] ? watch_directory(mapfiles, paths[i]) : -1;
		if (mapfiles->watches[i].wd >= 0 && !is_watched(old, mapfiles->watches[i].wd))
			gained = true;
	}
	/* Only now, so that a directory that stays is watched without a gap. */
	for (i = 0; i < WATCHES; i++) {
		if (old[i].wd >= 0 && !is_watched(mapfiles->watches, old[i].wd))
			inotify_rm_watch(mapfiles->inotify, old[i].wd);
		free(old[i].path);
	}
	return gained;
}

static void inotify_start(struct mapfiles *mapfiles)
{
	mapfiles->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (mapfiles->inotify < 0) {
		log_warn("can't watch the map files for changes; reload by hand (SIGHUP), or "
			 "raise fs.inotify.max_user_instances");
		return;
	}
	ev_io_init(&mapfiles->readable, on_readable, mapfiles->inotify, EV_READ);
	mapfiles->readable.data = mapfiles;
	ev_io_start(mapfiles->loop, &mapfiles->readable);
}

/* ---- entry points ---- */

struct routes *mapfiles_load(struct mapfiles *mapfiles, const struct conf *conf, FILE *errors,
			     unsigned *bad_lines)
{
	const char *const paths[FILES] = { conf->map_static, conf->map_learned };
	struct file once[FILES] = { { NULL, NULL, 0 }, { NULL, NULL, 0 } };
	struct file *files = mapfiles ? mapfiles->files : once;
	struct hosts_text texts[FILES];
	unsigned unreadable = 0, bad = 0, i;
	struct routes *routes;

	/* Whatever happened up to now is in what is read. */
	if (mapfiles && mapfiles->inotify >= 0) {
		take_events(mapfiles);
		mapfiles->events_read = mapfiles->events;
	}
	for (i = 0; i < FILES; i++) {
		if (file_read(&files[i], paths[i], i == 1, errors))
			unreadable++;
		texts[i] = (struct hosts_text){
			.path = paths[i],
			.text = files[i].text ? files[i].text : "",
			.size = files[i].size,
			.learned = i == 1,
		};
	}
	routes = routes_build(texts, FILES, conf->prefix_length, errors, &bad);
	if (bad_lines)
		*bad_lines = bad + unreadable;
	for (i = 0; i < FILES; i++)
		file_forget(&once[i]);
	return routes;
}

/*
 * glibc maps large blocks and gives them back when they are freed, but each time it
 * raises what it calls large to the size of what was freed, up to 32 MiB: the second
 * reading of a large map would go to the heap, and leave holes of many megabytes there
 * for good.  Setting the size keeps it as it is, for the whole process.
 */
static void keep_heap_small(void)
{
	mallopt(M_MMAP_THRESHOLD, HEAP_MAX);
}

struct mapfiles *mapfiles_start(struct ev_loop *loop, const struct conf *conf,
				mapfiles_changed *changed, void *arg)
{
	struct mapfiles *mapfiles = calloc(1, sizeof(*mapfiles));
	size_t i;

	if (!mapfiles) {
		log_warn("can't watch the map files");
		return NULL;
	}
	keep_heap_small();
	mapfiles->loop = loop;
	mapfiles->changed = changed;
	mapfiles->arg = arg;
	for (i = 0; i < WATCHES; i++)
		mapfiles->watches[i].wd = -1;
	ev_timer_init(&mapfiles->settle, on_settled, 0., 0.);
	mapfiles->settle.data = mapfiles;
	inotify_start(mapfiles);
	if (mapfiles->inotify >= 0)
		watch_all(mapfiles, conf);
	return mapfiles;
}

void mapfiles_update(struct mapfiles *mapfiles, const struct conf *conf)
{
	if (mapfiles->inotify < 0)
		return;
	/* A reload by hand just after a change is not to be followed by another one.  Not
	 * before now: what was read may not have been put in force. */
	if (mapfiles->events == mapfiles->events_read)
		ev_timer_stop(mapfiles->loop, &mapfiles->settle);
	if (!watch_all(mapfiles, conf))
		return;
	/* What changed there between the reading and now was not seen: look once more. */
	ev_timer_stop(mapfiles->loop, &mapfiles->settle);
	ev_timer_set(&mapfiles->settle, SETTLE_SECONDS, 0.);
	ev_timer_start(mapfiles->loop, &mapfiles->settle);
}

void mapfiles_stop(struct mapfiles *mapfiles)
{
	size_t i;

	if (!mapfiles)
		return;
	ev_timer_stop(mapfiles->loop, &mapfiles->settle);
	if (mapfiles->inotify >= 0) {
		ev_io_stop(mapfiles->loop, &mapfiles->readable);
		close(mapfiles->inotify);
	}
	for (i = 0; i < WATCHES; i++)
		free(mapfiles->watches[i].path);
	for (i = 0; i < FILES; i++)
		file_forget(&mapfiles->files[i]);
	free(mapfiles);
}
