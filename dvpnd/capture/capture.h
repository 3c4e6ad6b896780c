/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capture: accept redirected connections and find out where each was going.
 *
 * Three parts, all in the main thread: the listener with its original
 * destinations, the conntrack handle, and the kernel's sets of remote
 * prefixes that the rules match on.
 */
#ifndef DVPND_CAPTURE_CAPTURE_H
#define DVPND_CAPTURE_CAPTURE_H

#include <ev.h>

#include "conf.h"
#include "map/routes.h"

/* ---- listener.c ---- */

/* A connection with its original destination, neither to ourselves nor
 * straight to the listening port. */
struct captured {
	int fd; /* non-blocking, close-on-exec */
	struct addr client;
	uint16_t client_port;
	struct addr dest;
	uint16_t port;
};

/* Counted since start. */
struct capture_counters {
	uint64_t accepted;
	uint64_t direct;    /* refused: made straight to the listening port */
	uint64_t unknown;   /* refused: no original destination to be found */
	uint64_t pauses;    /* accepting stopped for want of descriptors or memory */
};

struct conntrack;
struct listener;

/* Takes the socket over, or ends it with capture_refuse. */
typedef void captured_fn(const struct captured *captured, void *arg);

/* Binds every address of [listen].  NULL and one log line that names the
 * address, the cause and the remedy.  `conntrack` may be NULL. */
struct listener *listener_start(struct ev_loop *loop, const struct conf *conf,
				struct conntrack *conntrack, captured_fn *captured, void *arg);
void listener_stop(struct listener *listener); /* closes and frees; takes NULL */
const struct capture_counters *listener_counters(const struct listener *listener);

/* Closes with a reset, so that the client sees a refusal and not an empty answer. */
void capture_refuse(int fd);

/* ---- conntrack.c ---- */

/* One netlink handle for the life of the process.  NULL, errno set, and a log
 * line (a lack of CAP_NET_ADMIN, no nf_conntrack_netlink). */
struct conntrack *conntrack_open(void);
void conntrack_close(struct conntrack *conntrack); /* takes NULL */

/* The original destination of the connection from client to local (as
 * getpeername and getsockname tell them).  0, or -1 where no entry is known. */
int conntrack_original(struct conntrack *conntrack, const struct sockaddr *client,
		       const struct sockaddr *local, struct addr *dest, uint16_t *port);

/* Deletes the entries of TCP connections to addresses under these prefixes that
 * were never redirected and are not established: their SYN retries would go
 * past the redirection for ever.  Established ones stay; the rules reset them.
 * Returns how many were deleted, or -1 with errno. */
int conntrack_flush(struct conntrack *conntrack, const struct prefix *prefixes, size_t count);

/* ---- kset.c: the kernel sets dvpn4 and dvpn6 ---- */

struct kset;

/* On the default loop.  Runs ipset(8); NULL and a log line where that can't be
 * had.  ipset needs CAP_NET_ADMIN: it must be ambient where we are not root. */
struct kset *kset_start(struct ev_loop *loop);
/* The sets stay as they are: fail closed.  No `done` is called any more; not to
 * be called from one.  Takes NULL. */
void kset_stop(struct kset *kset);

/*
 * Brings the sets' content in line with every route's prefix, our own prefixes
 * taken out, in one swap and without blocking; the kernel's sets are read first
 * and left alone where they hold that already.  When it is done, `done` is
 * called with 0, or -1 after a log line.  An update during another is run after
 * it; while it waits a newer one replaces it, and the newer's `done` alone is
 * called.  `gained` are the prefixes that the sets did not have before (a /0 as
 * two halves), owned by kset, valid during the call: flush conntrack for them.
 * 0, or -1 and a log line, where nothing was begun and `done` is not called.
 */
typedef void kset_done(int result, const struct prefix *gained, size_t gained_count, void *arg);
int kset_update(struct kset *kset, const struct routes *routes, const struct prefix *own,
		unsigned own_count, kset_done *done, void *arg);

#endif
