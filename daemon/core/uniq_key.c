#include "daemon/core/uniq_key.h"

#include <stdio.h>
#include <string.h>

void uniq_key_init(struct uniq_key_maker *maker, const uint8_t ip[4], uint32_t pid, uint32_t draw)
{
    *maker = (struct uniq_key_maker){
        .pid = (uint16_t)pid,
        .hash = draw,
        .counter = (uint16_t)(draw >> 16),
    };
    memcpy(maker->ip, ip, sizeof(maker->ip));
}

void uniq_key_make(
    struct uniq_key_maker *maker, uint32_t since_month_began_ms, char ret_key[UNIQ_KEY_SIZE])
{
    (void)snprintf(ret_key, UNIQ_KEY_SIZE, "%02X%02X%02X%02X%04X%08X%08X%04X", maker->ip[0],
        maker->ip[1], maker->ip[2], maker->ip[3], maker->pid, maker->hash, since_month_began_ms,
        maker->counter++);
}
