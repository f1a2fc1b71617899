#!/bin/sh
# Sends a message, receives it, acknowledges it: sh hello.sh SOCKET TOPIC GROUP
set -eu
REMOTINGD_SOCKET=$1 topic=$2 group=$3
export REMOTINGD_SOCKET

remotingctl send "$topic" 'hello from the shell' --key hello-1 |
    while read -r _id broker _ queue _ offset; do
        echo "sent to $broker queue $queue offset $offset"
    done

# What was printed is acknowledged.
remotingctl receive "$topic" "$group" | while IFS= read -r body; do
    echo "received: $body"
done
