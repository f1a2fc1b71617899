/*
 * Router
 *
 * Where a command goes: the rules of the local protocol ("Where a command goes, first match") as
 * one function over plain data and one table with a row a code. It decides the kind of target;
 * finding the address (routes, nameservers, names) is the work of those who wait.
 *
 * Codes and their places are those of RocketMQ 5.5.0's request processors (commands.md of the notes
 * on RocketMQ).
 */
#pragma once

#include "protocol/remoting_command.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stdint.h>

enum route_target {
    ROUTE_TO_DAEMON,      /* a sidecar code: answered here */
    ROUTE_TO_ADDRESS,     /* name: host:port */
    ROUTE_TO_NAMESERVER,  /* the healthiest one */
    ROUTE_TO_BROKER,      /* name: the broker whose master gets it */
    ROUTE_TO_QUEUE,       /* name: the topic; a writable queue is chosen (SEND) */
    ROUTE_TO_RECEIVE,     /* name: the topic; all its masters (POP) */
    ROUTE_TO_RECEIPT,     /* the broker that the receipt names */
    ROUTE_TO_RECEIPTS,    /* the brokers that the receipts in the body name */
    ROUTE_TO_MESSAGE,     /* the broker that sidecar.msgId names */
    ROUTE_TO_HANDLE,      /* the broker that recallHandle names */
    ROUTE_TO_ALL_MASTERS, /* name: the topic; each of its masters, the answers joined */
    ROUTE_TO_ALL_QUEUES,  /* name: the topic; each of its queues, the answers joined */
    ROUTE_TO_ONE_MASTER,  /* name: the topic, which must live on exactly one master */
    ROUTE_TO_ANY_MASTER,  /* name: a topic; any of its masters */
    ROUTE_TO_CONTROL,     /* control connections, whatever address is named (HEART_BEAT) */
    ROUTE_IS_FORBIDDEN,   /* needs the admin role; reason */
    ROUTE_IS_INVALID,     /* reason */
};

/* What the sidecar.* fields of a request say about its way. */
struct route_question {
    int32_t code;                        /* after sidecar.code */
    const struct ext_fields *ext_fields; /* RocketMQ's own fields */
    struct span addr;                    /* sidecar.addr */
    struct span broker;                  /* sidecar.broker */
    struct span topic;                   /* sidecar.topic */
    struct span receipt;                 /* sidecar.receipt */
    struct span msg_id;                  /* sidecar.msgId */
    bool is_admin;
};

struct route_answer {
    enum route_target target;
    struct span name;
    char reason[256]; /* one sentence for ROUTE_IS_FORBIDDEN and ROUTE_IS_INVALID */
};

void router_decide(const struct route_question *question, struct route_answer *ret_answer);

/*
 * Long polls travel on connections of their own, so that a parked poll or its large answer never
 * stands before a send.
 */
bool router_is_long_poll(int32_t code);
/*
 * Asks a nameserver or broker for something and changes nothing: may be repeated elsewhere although
 * it was sent.
 */
bool router_is_read(int32_t code);
