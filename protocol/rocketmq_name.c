#include "protocol/rocketmq_name.h"

bool rocketmq_name_is_valid(struct span name, size_t max)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.data[i];
        bool is_alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alphanumeric && c != '%' && c != '|' && c != '_' && c != '-') {
            return false;
        }
    }
    return name.n > 0 && name.n <= max;
}
