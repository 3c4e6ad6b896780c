// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Are the files that the configuration names there, and fit for use?
 *
 * Told when the daemon starts, reloads or is asked with -t, with the remedy,
 * instead of by a login that fails later.  Of the private key only the head is
 * taken apart, which says type and cipher in clear; the bytes are wiped.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"

#define KEY_BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----"
#define KEY_END "-----END OPENSSH PRIVATE KEY-----"
#define KEY_MAGIC "openssh-key-v1" /* with its NUL */
#define KEY_FILE_MAX 16384

/* Enough of the base64 text for cipher, key derivation and type: an unencrypted
 * ed25519 key has its secret behind these bytes. */
#define HEAD_BASE64 160
#define HEAD_BYTES (HEAD_BASE64 / 4 * 3)

static const char passphrase[] = "has a passphrase, which nobody is there to type";

static void where(const struct conf *conf, unsigned line, FILE *errors)
{
	if (line)
		fprintf(errors, "%s:%u: ", conf->path, line);
	else
		fprintf(errors, "%s: ", conf->path);
}

/* ---- the private key's head ---- */

struct head {
	const unsigned char *at;
	size_t left;
};

static int head_number(struct head *head, uint32_t *number)
{
	if (head->left < sizeof(*number))
		return -1;
	memcpy(number, head->at, sizeof(*number));
	*number = ntohl(*number);
	head->at += sizeof(*number);
	head->left -= sizeof(*number);
	return 0;
}

/* An SSH string, cut at the size of `text`; its bytes become printable ones. */
static int head_string(struct head *head, char *text, size_t size)
{
	uint32_t length;
	size_t copied;

	if (head_number(head, &length) || length > head->left)
		return -1;
	copied = length < size ? length : size - 1;
	for (size_t i = 0; i < copied; i++)
		text[i] = head->at[i] > 0x20 && head->at[i] < 0x7f ? (char)head->at[i] : '?';
	text[copied] = '\0';
	head->at += length;
	head->left -= length;
	return 0;
}

/* The head's bytes from the text behind KEY_BEGIN.  How many, or -1. */
static int decode_head(const char *text, unsigned char bytes[HEAD_BYTES])
{
	unsigned char base64[HEAD_BASE64];
	size_t length = 0;
	int decoded;

	for (; *text && *text != '-' && length < sizeof(base64); text++)
		if (!strchr("\r\n", *text))
			base64[length++] = (unsigned char)*text;
	decoded = EVP_DecodeBlock(bytes, base64, (int)(length - length % 4));
	explicit_bzero(base64, sizeof(base64));
	return decoded;
}

/* What is wrong with the key that begins so, or NULL. */
static const char *head_complaint(const char *text, char complaint[160])
{
	unsigned char bytes[HEAD_BYTES];
	int length = decode_head(text, bytes);
	struct head head = { bytes, length > 0 ? (size_t)length : 0 };
	char cipher[64], skipped[64], type[64];
	const char *found = NULL;
	uint32_t keys, blob;

	if (head.left < sizeof(KEY_MAGIC) || memcmp(bytes, KEY_MAGIC, sizeof(KEY_MAGIC))) {
		found = "is a damaged private key";
		goto out;
	}
	head.at += sizeof(KEY_MAGIC);
	head.left -= sizeof(KEY_MAGIC);
	if (head_string(&head, cipher, sizeof(cipher)) ||
	    head_string(&head, skipped, sizeof(skipped)) ||
	    head_string(&head, skipped, sizeof(skipped)) || head_number(&head, &keys) ||
	    head_number(&head, &blob) || head_string(&head, type, sizeof(type))) {
		found = "is a damaged private key";
	} else if (strcmp(type, "ssh-ed25519")) {
		snprintf(complaint, 160, "is an %s key, but must be ssh-ed25519", type);
		found = complaint;
	} else if (strcmp(cipher, "none")) {
		found = passphrase;
	}
out:
	explicit_bzero(bytes, sizeof(bytes));
	return found;
}

static const char *text_complaint(const char *text, char complaint[160])
{
	if (!strncmp(text, "ssh-", 4) || !strncmp(text, "ecdsa-", 6) || !strncmp(text, "sk-", 3))
		return "is the public half; the private one has no .pub at its end";
	if (strncmp(text, KEY_BEGIN, strlen(KEY_BEGIN)))
		return strncmp(text, "-----BEGIN ", 11) ?
			       "is no OpenSSH private key" :
			       "is a key of another form than OpenSSH's own";
	if (!strstr(text, KEY_END))
		return "is cut short: the END line is missing";
	return head_complaint(text + strlen(KEY_BEGIN), complaint);
}

/* ---- the file ---- */

/* What the file holds, cut at its size, as a string. */
static int read_text(int fd, char *text, size_t size)
{
	size_t length = 0;
	ssize_t n = 1;

	while (n && length < size - 1) {
		n = read(fd, text + length, size - 1 - length);
		if (n < 0 && errno != EINTR)
			return -1;
		length += n > 0 ? (size_t)n : 0;
	}
	text[length] = '\0';
	return 0;
}

static int key_error(const struct conf *conf, FILE *errors, const char *what, const char *remedy)
{
	where(conf, conf->key_line, errors);
	fprintf(errors, "[site] key: %s %s; %s %s\n", conf->key, what, remedy, conf->key);
	return -1;
}

static int check_key_text(const struct conf *conf, int fd, FILE *errors)
{
	char text[KEY_FILE_MAX], complaint[160]; /* `what` may be the second */
	const char *what;
	int result = 0;

	if (read_text(fd, text, sizeof(text)))
		what = strerror(errno);
	else
		what = text_complaint(text, complaint);
	if (what == passphrase)
		result = key_error(conf, errors, what, "take it off with: ssh-keygen -p -N '' -f");
	else if (what)
		result = key_error(conf, errors, what,
				   "name another, or move it away and make one: "
				   "ssh-keygen -t ed25519 -N '' -f");
	explicit_bzero(text, sizeof(text));
	return result;
}

static int check_key_mode(const struct conf *conf, int fd, FILE *errors)
{
	struct stat st;
	char what[80];

	if (fstat(fd, &st))
		return key_error(conf, errors, strerror(errno), "look at it: ls -l");
	if (!S_ISREG(st.st_mode))
		return key_error(conf, errors, "is no regular file",
				 "name the key's file; what is there: ls -ld");
	if (st.st_mode & 077) {
		snprintf(what, sizeof(what), "may be used by others than its owner (mode %04o)",
			 (unsigned)st.st_mode & 07777);
		return key_error(conf, errors, what, "chmod 600");
	}
	return 0;
}

int conf_check_key(const struct conf *conf, FILE *errors)
{
	int result, error;
	int fd = open(conf->key, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		error = errno;
		where(conf, conf->key_line, errors);
		fprintf(errors, "[site] key: %s can't be opened: %s; %s %s\n", conf->key,
			strerror(error),
			error == EACCES ? "the user of dvpnd must own it; look: ls -l" :
					  "make one: ssh-keygen -t ed25519 -N '' -f", conf->key);
		return -1;
	}
	result = check_key_mode(conf, fd, errors);
	if (!result)
		result = check_key_text(conf, fd, errors);
	close(fd);
	return result;
}

/* ---- known_hosts ---- */

/* 0; an errno where it can't be read, EINVAL for what is no file. */
static int readable(const char *path)
{
	struct stat st;
	int error = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st))
		error = errno;
	else if (!S_ISREG(st.st_mode))
		error = EINVAL;
	if (fd >= 0)
		close(fd);
	return error;
}

static int check_known_hosts(const struct conf *conf, const struct conf_ssh *ssh,
			     const char *section, unsigned line, FILE *errors)
{
	int error = readable(ssh->known_hosts);
	bool may_make = error == ENOENT && ssh->host_keys == HOST_KEYS_ACCEPT_NEW;

	if (!error)
		return 0;
	where(conf, line, errors);
	fprintf(errors, "[%s] known_hosts: %s can't be read: %s; ", section, ssh->known_hosts,
		strerror(error));
	if (may_make)
		fprintf(errors, "host_keys = accept-new will make it, so let the user of dvpnd "
			"write its directory\n");
	else if (error == ENOENT)
		fprintf(errors, "ssh-keyscan -p %u HOST >> %s, after comparing the fingerprint "
			"(ssh-keygen -l) with the one that its operator tells\n",
			ssh->port, ssh->known_hosts);
	else
		fprintf(errors, "let the user of dvpnd read it; look: ls -ld %s\n",
			ssh->known_hosts);
	return ssh->host_keys == HOST_KEYS_STRICT ? -1 : 0;
}

int conf_check_files(const struct conf *conf, FILE *errors)
{
	int result = check_known_hosts(conf, &conf->ssh, "ssh", conf->known_hosts_line, errors);

	for (unsigned i = 0; i < conf->gateway_count; i++) {
		const struct conf_gateway *gateway = &conf->gateways[i];
		char section[300];

		if (!(gateway->overridden & CONF_SSH_KNOWN_HOSTS))
			continue;
		snprintf(section, sizeof(section), "gateway %s", gateway->name);
		if (check_known_hosts(conf, &gateway->ssh, section, gateway->line, errors))
			result = -1;
	}
	return result;
}
