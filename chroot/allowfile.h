/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allow file as it lies in the jail: read into memory of its own, asked as
 * often as wanted.  What its lines mean is allow.h's.
 */
#ifndef CHROOT_ALLOWFILE_H
#define CHROOT_ALLOWFILE_H

#include "allow.h"

#ifndef NC_ALLOW
#define NC_ALLOW "/etc/dvpn/allow"
#endif

/* Reads the file at `path`, which must stay.  A file that can't be read allows
 * nothing; allowfile_ask says why. */
void allowfile_load(const char *path);

/* As allowfile_load of NC_ALLOW, where that changed: one stat(2). */
void allowfile_refresh(void);

/*
 * Whether address:port may be reached, by what was loaded last; with a NULL
 * address only the file is judged.  NULL, or why not, good until the next call;
 * *report says by which line.
 */
const char *allowfile_ask(const struct address *address, unsigned port,
			  struct allow_report *report);

#endif
