/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling the service manager: the datagrams of sd_notify(3), which are few
 * enough not to need its library.  All of it does nothing outside systemd.
 */
#ifndef DVPND_NOTIFY_H
#define DVPND_NOTIFY_H

void notify_ready(const char *status);
void notify_reloading(void); /* notify_ready says when it is done */
void notify_stopping(void);

#endif
