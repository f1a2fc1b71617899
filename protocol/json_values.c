#include "protocol/json_values.h"

/* Every value but the first stands behind one of these, outside of strings. */
size_t json_values_count(struct span json)
{
    size_t n = 1;
    bool is_in_string = false;
    for (size_t i = 0; i < json.n; i++) {
        char c = json.data[i];
        if (c == '"') {
            is_in_string = !is_in_string;
        } else if (is_in_string && c == '\\') {
            i++;
        } else if (!is_in_string && (c == ',' || c == '[' || c == '{' || c == ':')) {
            n++;
        }
    }
    return n;
}
