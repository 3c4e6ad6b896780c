/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the netcat gives up.  sandbox_enter, at the start: inherited
 * descriptors, new privileges, child processes, core files, file growth.
 * sandbox_seal, once connected: every system call that moving bytes does not
 * take.  Each step is a second fence behind the jail and the allow file, so a
 * kernel that lacks one is no reason to stop.
 */
#ifndef CHROOT_SANDBOX_H
#define CHROOT_SANDBOX_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SANDBOX_DESCRIPTORS 65536

#if defined(__x86_64__)
#define SANDBOX_ARCH 0xc000003eu /* AUDIT_ARCH_X86_64 */
#elif defined(__aarch64__)
#define SANDBOX_ARCH 0xc00000b7u /* AUDIT_ARCH_AARCH64 */
#endif
/* A sanitizer's runtime makes calls of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef SANDBOX_ARCH
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef SANDBOX_ARCH
#endif
#endif

static inline void sandbox_close_inherited(void)
{
	int fd;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
		return;
#endif
	for (fd = 3; fd < SANDBOX_DESCRIPTORS; fd++)
		close(fd);
}

static inline bool sandbox_is_file(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static inline void sandbox_enter(void)
{
	const struct rlimit none = { 0, 0 };

	sandbox_close_inherited();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NPROC, &none);
	/* Output into a file is for someone at the keyboard; sshd gives sockets. */
	if (!sandbox_is_file(STDOUT_FILENO) && !sandbox_is_file(STDERR_FILENO))
		setrlimit(RLIMIT_FSIZE, &none);
}

#ifdef SANDBOX_ARCH
/* The kernel's own headers do not come with musl; this is the part of its ABI
 * that seccomp(2) and the classic BPF of linux/filter.h need. */
struct sandbox_step {
	uint16_t code;
	uint8_t if_true, if_false;
	uint32_t value;
};

struct sandbox_program {
	uint16_t length;
	const struct sandbox_step *steps;
};

#define SANDBOX_MODE_FILTER 2
#define SANDBOX_NUMBER 0 /* offsets in struct seccomp_data */
#define SANDBOX_MACHINE 4
#define SANDBOX_LOAD(offset) { 0x20, 0, 0, (offset) } /* BPF_LD | BPF_W | BPF_ABS */
#define SANDBOX_SKIP_IF(value, count) { 0x15, (count), 0, (value) } /* BPF_JMP | BPF_JEQ */
#define SANDBOX_PASS { 0x06, 0, 0, 0x7fff0000u }		    /* SECCOMP_RET_ALLOW */
#define SANDBOX_FAIL { 0x06, 0, 0, 0x00050000u | EPERM }	    /* SECCOMP_RET_ERRNO */
#define SANDBOX_ALLOW(call) { 0x15, 0, 1, SYS_##call }, SANDBOX_PASS

#define SANDBOX_ARGUMENT(number) (16 + 8 * (number)) /* the low half, on these machines */
/* Of these calls, reading files and TCP alone. */
#define SANDBOX_OPEN(call, flags) \
	{ 0x15, 0, 4, SYS_##call }, SANDBOX_LOAD(SANDBOX_ARGUMENT(flags)), \
		{ 0x45, 0, 1, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC }, /* BPF_JMP | BPF_JSET */ \
		SANDBOX_FAIL, SANDBOX_PASS
#define SANDBOX_SOCKET \
	{ 0x15, 0, 5, SYS_socket }, SANDBOX_LOAD(SANDBOX_ARGUMENT(0)), \
		SANDBOX_SKIP_IF(AF_INET, 2), SANDBOX_SKIP_IF(AF_INET6, 1), SANDBOX_FAIL, \
		SANDBOX_PASS

/* Any other call fails with EPERM.  sendto is what send() makes. */
#define SANDBOX_BEGIN \
	SANDBOX_LOAD(SANDBOX_MACHINE), SANDBOX_SKIP_IF(SANDBOX_ARCH, 1), SANDBOX_FAIL, \
		SANDBOX_LOAD(SANDBOX_NUMBER), SANDBOX_ALLOW(read), SANDBOX_ALLOW(write), \
		SANDBOX_ALLOW(sendto), SANDBOX_ALLOW(ppoll), SANDBOX_ALLOW(shutdown), \
		SANDBOX_ALLOW(close), SANDBOX_ALLOW(setsockopt), SANDBOX_ALLOW(clock_gettime), \
		SANDBOX_ALLOW(rt_sigreturn), SANDBOX_ALLOW(restart_syscall), \
		SANDBOX_ALLOW(exit), SANDBOX_ALLOW(exit_group)

static inline void sandbox_apply(const struct sandbox_step *steps, size_t count)
{
	const struct sandbox_program program = { (uint16_t)count, steps };

	prctl(PR_SET_SECCOMP, SANDBOX_MODE_FILTER, &program, 0, 0);
}

/* For moving the bytes of one connection. */
static inline void sandbox_seal(void)
{
	static const struct sandbox_step steps[] = {
		SANDBOX_BEGIN,
#ifdef SYS_poll
		SANDBOX_ALLOW(poll),
#endif
		SANDBOX_ALLOW(getppid),
		SANDBOX_FAIL,
	};

	sandbox_apply(steps, sizeof(steps) / sizeof(steps[0]));
}

/* For a trunk: to connect as well, over IP alone, and to read the allow file. */
static inline void sandbox_seal_trunk(void)
{
	static const struct sandbox_step steps[] = {
		SANDBOX_BEGIN,
#ifdef SYS_poll
		SANDBOX_ALLOW(poll),
#endif
#ifdef SYS_epoll_wait
		SANDBOX_ALLOW(epoll_wait),
#endif
		SANDBOX_ALLOW(epoll_pwait),
		SANDBOX_ALLOW(epoll_ctl),
		SANDBOX_ALLOW(writev),
		SANDBOX_ALLOW(connect),
		SANDBOX_ALLOW(getsockopt),
		SANDBOX_ALLOW(madvise),
		SANDBOX_ALLOW(munmap),
		SANDBOX_ALLOW(fcntl), /* part of open() */
		SANDBOX_ALLOW(fstat),
		SANDBOX_ALLOW(newfstatat),
#ifdef SYS_stat
		SANDBOX_ALLOW(stat),
#endif
#ifdef SYS_open
		SANDBOX_OPEN(open, 1),
#endif
		SANDBOX_OPEN(openat, 2),
		SANDBOX_SOCKET,
		SANDBOX_FAIL,
	};

	sandbox_apply(steps, sizeof(steps) / sizeof(steps[0]));
}
#else
static inline void sandbox_seal(void)
{
}

static inline void sandbox_seal_trunk(void)
{
}
#endif

#endif
