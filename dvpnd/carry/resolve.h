/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host names to addresses with c-ares, on a worker's own loop, so that a slow
 * name server never blocks anybody.
 */
#ifndef DVPND_CARRY_RESOLVE_H
#define DVPND_CARRY_RESOLVE_H

#include <ev.h>

#include "map/addr.h"

#define RESOLVE_MAX 16 /* addresses of one name that are tried */

struct resolver;
struct resolve_query; /* owned by the resolver until answered or cancelled */

/* `count` 0: it failed, and `reason` says why. */
typedef void resolve_done(const struct addr *addresses, size_t count, const char *reason,
			  void *arg);

/* NULL where c-ares can't start; a log line says why. */
struct resolver *resolver_start(struct ev_loop *loop);
void resolver_stop(struct resolver *resolver); /* no answer comes any more; takes NULL */

/* Answers later, never from within; NULL where memory is out.  A numeric
 * address is not for the resolver: see addr_parse. */
struct resolve_query *resolver_ask(struct resolver *resolver, const char *host,
				   resolve_done *done, void *arg);
void resolver_cancel(struct resolve_query *query); /* done is not called; takes NULL */

#endif
