/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the netcat tells the near side, or whoever started it: lines on stderr. */
#ifndef CHROOT_SAY_H
#define CHROOT_SAY_H

/* One line, "dvpn-nc: …", without newline in `format`.  Short enough for the
 * socket's buffer, so a near side that does not read cannot hold us up. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* stderr is closed, and nothing more is said. */
void say_end(void);

#endif
