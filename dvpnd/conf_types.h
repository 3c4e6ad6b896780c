/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The types of values that keys of dvpnd.conf have; see struct conf_type.
 */
#ifndef DVPND_CONF_TYPES_H
#define DVPND_CONF_TYPES_H

#include "conf_fields.h"

/* Writes a reason, cut at its size; always -1, for parsers to return. */
int conf_refuse(char reason[CONF_REASON_SIZE], const char *fmt, ...) LOG_PRINTF(2, 3);

extern const struct conf_type conf_type_number;	 /* unsigned */
extern const struct conf_type conf_type_port;	 /* uint16_t */
extern const struct conf_type conf_type_workers; /* unsigned, "auto" is read as the CPUs */
extern const struct conf_type conf_type_memory;	 /* uint64_t bytes; 0 only */
extern const struct conf_type conf_type_log_to, conf_type_log_level;
extern const struct conf_type conf_type_host_keys, conf_type_mode, conf_type_crypto;
/* char *, allocated */
extern const struct conf_type conf_type_name, conf_type_user, conf_type_netcat;
extern const struct conf_type conf_type_path, conf_type_socket;
/* A pointer with its unsigned count right behind it, both in struct conf. */
extern const struct conf_type conf_type_prefixes, conf_type_endpoints, conf_type_addresses;

#endif
