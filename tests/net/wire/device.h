/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ends of the wire: a TUN device in a network namespace each.
 */
#ifndef TESTS_NET_WIRE_DEVICE_H
#define TESTS_NET_WIRE_DEVICE_H

/* Makes the device in the namespace whose file is given, and brings it up.
 * Result: a non-blocking descriptor that reads and writes one packet behind a struct
 * virtio_net_hdr; the device goes when it is closed.  Exits with a message where
 * that fails.  The caller's namespace is the same afterwards. */
int device_open(const char *namespace_file, const char *name);

#endif
