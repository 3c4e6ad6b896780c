/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A report on its way: it goes from worker to worker, each adds what it has,
 * and back to main.  No locks: one thread holds it at a time.
 */
#ifndef DVPND_CARRY_REPORT_H
#define DVPND_CARRY_REPORT_H

#include "carry/carry.h"

struct worker_report {
	struct worker_report *next; /* in carry's list of finished ones */
	struct carry_report report;
	struct carry *carry;
	carry_report_done *done;
	void *arg;
};

/* The next worker's turn, or main's: in carry.c. */
void carry_report_pass(struct worker_report *report, unsigned from_worker);
void report_free(struct worker_report *report);

#endif
