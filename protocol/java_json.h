/*
 * Java's JSON
 *
 * Nameservers write maps with numeric keys without quotes ({"brokerAddrs":{0:"10.0.0.7:10911"}}):
 * in 105 answers unless the request's version is 401 or more (and always before 4.9.4), in 106
 * answers in every version. jansson and every other strict parser refuses that; this module puts
 * the quotes in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The size of (data, n) with every unquoted integer key (-?[0-9]+ before a colon, in the place of a
 * key, outside strings) quoted. Equal to n when there is nothing to do. Does not judge the rest of
 * the text.
 */
size_t java_json_quoted_size(const char *data, size_t n);
/* Writes exactly that many bytes. */
void java_json_quote(const char *data, size_t n, char *dst);
