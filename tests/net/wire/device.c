/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TUN devices that take and give GSO packets.  A descriptor of /dev/net/tun
 * belongs to the network namespace in which it was opened, for good, so one process can
 * hold both ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_tun.h>

#include "device.h"

/* What waits for us to be scheduled.  A full queue loses packets unasked. */
#define QUEUE_PACKETS 20000

static _Noreturn void device_fail(const char *name, const char *what)
{
	fprintf(stderr, "wan: device %s: %s: %s\n", name, what, strerror(errno));
	exit(1);
}

static void enter(const char *file, const char *name)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		device_fail(name, file);
	close(fd);
}

static void bring_up(const char *name)
{
	struct ifreq request = { .ifr_qlen = QUEUE_PACKETS };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCSIFTXQLEN, &request))
		device_fail(name, "queue length");
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		device_fail(name, "flags");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		device_fail(name, "up");
	close(fd);
}

int device_open(const char *namespace_file, const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };
	unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	if (home < 0)
		device_fail(name, "/proc/self/ns/net");
	enter(namespace_file, name);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		device_fail(name, "/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request))
		device_fail(name, "TUNSETIFF");
	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload))
		device_fail(name, "TUNSETOFFLOAD");
	bring_up(name);
	if (setns(home, CLONE_NEWNET))
		device_fail(name, "back to the namespace we came from");
	close(home);
	return fd;
}
