/*
 * Texts of one line that callers and brokers write: receipts, transaction receipts, base64,
 * addresses, numbers, UTF-8, and the daemon's own fields. What is taken has one spelling and is
 * written back so.
 */
#include "daemon/core/receipt.h"
#include "daemon/core/sidecar_fields.h"
#include "daemon/core/transaction_receipt.h"
#include "protocol/address.h"
#include "protocol/base64.h"
#include "protocol/utf8.h"
#include "tests/fuzz/target.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define PROBLEM_SIZE 256
#define MAX_TIMEOUT  300000

static void try_receipt(struct span text)
{
    struct receipt receipt;
    if (!receipt_decode(text, &receipt)) {
        return;
    }
    char again[RECEIPT_TEXT_MAX];
    size_t n = receipt_encode(&receipt, again, sizeof(again));
    promise(span_equals(text, (struct span){ again, n }), "'%.*s' becomes '%s'", SPAN_ARGS(text),
        n > 0 ? again : "");
    promise(receipt_extra_info(&receipt, again, sizeof(again)) < sizeof(again), "too long");
    promise(receipt_real_topic(&receipt, again, sizeof(again)) < sizeof(again), "too long");
    struct ext_field storage[RECEIPT_COMMAND_FIELDS];
    struct ext_fields fields;
    ext_fields_init(&fields, storage, RECEIPT_COMMAND_FIELDS);
    char *texts = malloc(RECEIPT_COMMAND_TEXTS_MAX(text.n));
    promise(texts, "no memory");
    size_t used =
        receipt_command_fields(&receipt, &fields, texts, RECEIPT_COMMAND_TEXTS_MAX(text.n));
    promise(used <= RECEIPT_COMMAND_TEXTS_MAX(text.n), "%zu bytes", used);
    promise(used == 0 || fields.n == RECEIPT_COMMAND_FIELDS, "%zu fields", fields.n);
    free(texts);
}

static void try_transaction_receipt(struct span text)
{
    struct transaction_receipt receipt;
    if (transaction_receipt_decode(text, &receipt)) {
        char again[RECEIPT_TEXT_MAX];
        size_t n = transaction_receipt_encode(&receipt, again, sizeof(again));
        promise(span_equals(text, (struct span){ again, n }), "'%.*s' becomes '%s'",
            SPAN_ARGS(text), n > 0 ? again : "");
    }
}

static void try_base64(struct span text)
{
    char *encoded = base64_encode(text);
    promise(encoded && strlen(encoded) == (text.n + 2) / 3 * 4, "a wrong length");
    char *bytes = NULL;
    size_t n = 0;
    promise(base64_decode(span_of(encoded), &bytes, &n) == 0, "%s", encoded);
    promise(span_equals(text, (struct span){ bytes, n }), "%s", encoded);
    free(encoded);
    free(bytes);
    bytes = NULL;
    int r = base64_decode(text, &bytes, &n);
    promise(r == 0 || r == -EINVAL, "%d", r);
    promise(r == 0 || !bytes, "bytes of what is no base64");
    promise(r < 0 || n <= text.n, "%zu bytes of %zu", n, text.n);
    free(bytes);
}

/* jansson's idea of UTF-8 is the other opinion. */
static void try_utf8(struct span text)
{
    bool is_valid = utf8_is_valid(text);
    json_t *string = json_stringn(text.data, text.n);
    promise(is_valid == (string != NULL), "jansson disagrees");
    json_decref(string);
    struct span cut = utf8_cut(text, text.n / 2);
    promise(cut.n <= text.n / 2 && cut.data == text.data, "%zu", cut.n);
    promise(!is_valid || utf8_is_valid(cut), "cut inside a character");
    promise(!is_valid || text.n / 2 - cut.n < 4, "cut too early");
}

static void try_address(struct span text)
{
    struct span host;
    uint16_t port;
    if (address_parse(text, &host, &port)) {
        promise(port > 0 && host.n > 0 && host.n <= ADDRESS_HOST_MAX, "%.*s", SPAN_ARGS(text));
        (void)address_host_is_in(host, "10.0.0.0/8");
        (void)address_host_is_in(host, "fd00::/8");
    }
}

/* strtoll is the other opinion where both take a text. */
static void try_number(struct span text)
{
    int64_t number;
    if (ext_value_parse_i64(text, INT64_MIN, INT64_MAX, &number)) {
        char *copy = strndup(text.data, text.n);
        promise(copy, "no memory");
        char *end;
        errno = 0;
        promise(strtoll(copy, &end, 10) == number && *end == '\0' && errno == 0, "%s", copy);
        free(copy);
    }
}

/* A line of "key=value" each. */
static void try_sidecar_fields(struct span text)
{
    struct ext_field storage[EXT_FIELDS_MAX];
    struct ext_fields fields;
    ext_fields_init(&fields, storage, EXT_FIELDS_MAX);
    for (size_t at = 0; at < text.n;) {
        const char *line = text.data + at;
        const char *end = memchr(line, '\n', text.n - at);
        size_t n = end ? (size_t)(end - line) : text.n - at;
        const char *equals = memchr(line, '=', n);
        if (equals) {
            struct span value = { equals + 1, n - (size_t)(equals + 1 - line) };
            (void)ext_fields_add(&fields, (struct span){ line, (size_t)(equals - line) }, value);
        }
        at += n + 1;
    }
    struct sidecar_fields sidecar;
    char problem[PROBLEM_SIZE] = "";
    if (!sidecar_fields_take(&fields, MAX_TIMEOUT, &sidecar, problem, sizeof(problem))) {
        promise(problem[0] != '\0', "no word about it");
        return;
    }
    promise(sidecar.timeout_ms <= MAX_TIMEOUT, "%llu ms", (unsigned long long)sidecar.timeout_ms);
    for (size_t i = 0; i < fields.n; i++) {
        promise(!span_starts_with(fields.fields[i].key, SPAN("sidecar.")), "%.*s is left",
            SPAN_ARGS(fields.fields[i].key));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span text = { (const char *)data, n };
    try_receipt(text);
    try_transaction_receipt(text);
    try_base64(text);
    try_utf8(text);
    try_address(text);
    try_number(text);
    try_sidecar_fields(text);
    return 0;
}
