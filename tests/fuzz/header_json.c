/*
 * The JSON header: taken exactly where jansson and the rules of header_json.h take it, with the same
 * values.
 */
#include "tests/fuzz/command_promises.h"
#include "tests/fuzz/target.h"
#include "tests/support/header_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char text[512];
    enum header_status status = header_oracle_compare((const char *)data, n, text, sizeof(text));
    promise(text[0] == '\0', "%s", text);
    if (status == HEADER_OK) {
        struct remoting_command command;
        struct header_problem problem;
        char *copy;
        (void)header_oracle_decode(&command, (const char *)data, n, &problem, &copy);
        promise_command(&command);
        free(copy);
    }
    return 0;
}
