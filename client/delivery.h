/*
 * Delivery
 *
 * Letters (letter.h) are sent one at a time, each until the broker has it or nothing more can be
 * done: what fails and may pass is tried again, also without a daemon, until nothing could be
 * delivered for as long as the caller allows. Then no other letter is tried, so that none overtakes
 * one that waits, and all of them go to the file of the undelivered (undelivered.h).
 *
 * What was perhaps stored is not sent again, unless the caller says that it may arrive twice. No
 * letter with a sharding key is sent behind another such one of which it is not known.
 */
#pragma once

#include "client/command.h"
#include "client/letter.h"
#include "client/undelivered.h"

struct delivery_options {
    const struct invocation *invocation;
    int64_t retry_for_ms;
    int64_t timeout_ms; /* -1: the daemon's */
    bool at_least_once;
    const char *undelivered_path; /* NULL: what is not delivered is told of, and lost */
};

struct delivery {
    const struct delivery_options *options;
    struct remotingclient *client;
    struct undelivered *undelivered;
    struct undelivered *source; /* what is sent is from this file; NULL: it is not from a file */
    bool keeps_in_source;       /* which is that of the undelivered, too */
    uint64_t failing_since_ms;  /* 0: the last letter was delivered, or could never be */
    uint64_t pause_ms;
    bool has_given_up;
    bool holds_order;    /* letters with an order are held back */
    bool is_file_broken; /* a message was lost, or is in it though it was sent */
    uint64_t n_sent;
    uint64_t n_failed;
    uint64_t n_unknown;       /* of those that failed */
    enum exit_code exit_code; /* of the first failure */
};

/*
 * Opens the files; from_path NULL: letters come from elsewhere. False: nothing is to be done, and
 * the exit code says why; what has gone wrong is told. From then on the first SIGINT or SIGTERM ends
 * the trying and not the program (interrupt.h).
 */
bool delivery_init(
    struct delivery *delivery, const struct delivery_options *options, const char *from_path);
void delivery_deinit(struct delivery *delivery);

/* The fields of a request that the options say. */
void delivery_add_fields(
    const struct delivery_options *options, struct remotingclient_request *request);
/* A message that could not even become a letter. */
void delivery_count_lost(struct delivery *delivery);
/*
 * Sends it, or puts it into the file. *ret_answer is the broker's or the daemon's last one; NULL:
 * it was not tried, or there was none. prefix names it where a failure is told: "line 7: ".
 */
void delivery_send(struct delivery *delivery, struct letter *letter, const char *prefix,
    struct remotingclient_answer **ret_answer);
/* All letters of the file that they come from. */
void delivery_send_file(struct delivery *delivery);
/*
 * What the files hold is on the disk. Says how many were sent, where that is more than one or some
 * were not: cron mails whatever is said. The exit code of all.
 */
enum exit_code delivery_finish(struct delivery *delivery);
