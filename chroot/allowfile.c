// SPDX-License-Identifier: GPL-2.0-or-later
/* The allow file's text, whole, and why there is none. */
#include "allowfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_SIZE 65536
#define ANSWERS 256

static struct {
	const char *path;
	int error;	  /* errno; EFBIG: the text is larger than its place */
	struct stat seen; /* all zero: not there */
	size_t length;
	char text[TEXT_SIZE];
	char reason[256];
	unsigned loads;
} file;

/* What was answered last, by what the question hashes to: a long file takes longer
 * to read than a connection to make. */
static struct answer {
	struct address address;
	unsigned port;
	unsigned loads; /* as of when; 0: none */
	struct allow_report report;
} answers[ANSWERS];

/* 0, or an errno. */
static int text_read(int fd)
{
	ssize_t got;

	file.length = 0;
	if (fstat(fd, &file.seen))
		return errno;
	if (!S_ISREG(file.seen.st_mode))
		return EINVAL;
	while (file.length < TEXT_SIZE) {
		got = read(fd, file.text + file.length, TEXT_SIZE - file.length);
		if (got <= 0)
			return got < 0 ? errno : 0;
		file.length += (size_t)got;
	}
	return EFBIG;
}

void allowfile_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	file.path = path;
	file.loads++;
	memset(&file.seen, 0, sizeof(file.seen));
	file.error = fd < 0 ? errno : text_read(fd);
	if (fd >= 0)
		close(fd);
}

static bool is_same_time(const struct timespec *first, const struct timespec *second)
{
	return first->tv_sec == second->tv_sec && first->tv_nsec == second->tv_nsec;
}

void allowfile_refresh(void)
{
	struct stat now = { 0 };

	/* One that vanished is loaded too, and fails. */
	if (stat(NC_ALLOW, &now) == 0 && now.st_dev == file.seen.st_dev &&
	    now.st_ino == file.seen.st_ino && now.st_size == file.seen.st_size &&
	    is_same_time(&now.st_mtim, &file.seen.st_mtim) &&
	    is_same_time(&now.st_ctim, &file.seen.st_ctim))
		return;
	allowfile_load(NC_ALLOW);
}

static struct answer *answer_at(const struct address *address, unsigned port)
{
	uint32_t hash = port, i;

	for (i = 0; i < sizeof(address->bytes); i++)
		hash = (hash ^ address->bytes[i]) * 16777619;
	return &answers[(hash >> 16) % ANSWERS];
}

/* By the file's text, which is there. */
static enum allow_verdict decide(const struct address *address, unsigned port,
				 struct allow_report *report)
{
	struct answer *answer = address ? answer_at(address, port) : NULL;
	enum allow_verdict verdict;

	if (answer && answer->loads == file.loads && answer->port == port &&
	    !memcmp(&answer->address, address, sizeof(*address))) {
		*report = answer->report;
		return report->reason ? ALLOW_NO : ALLOW_YES;
	}
	verdict = allow_decide(file.text, file.length, address, port, report);
	if (answer && verdict != ALLOW_BAD_FILE)
		*answer = (struct answer){ *address, port, file.loads, *report };
	return verdict;
}

const char *allowfile_ask(const struct address *address, unsigned port, struct allow_report *report)
{
	enum allow_verdict verdict;

	memset(report, 0, sizeof(*report));
	if (file.error) {
		snprintf(file.reason, sizeof(file.reason),
			 "the allow file %s can't be read, so nothing is allowed: %s", file.path,
			 strerror(file.error));
		return file.reason;
	}
	verdict = decide(address, port, report);
	if (verdict == ALLOW_YES || (verdict == ALLOW_NO && !address))
		return NULL;
	if (verdict != ALLOW_BAD_FILE)
		return report->reason;
	snprintf(file.reason, sizeof(file.reason), "%s line %u is bad, so nothing is allowed: %s",
		 file.path, report->line, report->reason);
	return file.reason;
}
