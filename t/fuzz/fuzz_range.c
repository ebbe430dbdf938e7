
/*
 * Content-Range: what is accepted is in order, in bounds, and accepted again
 * in its plain form.
 */


#include <inttypes.h>

#include "fuzz.h"
#include "registry_range.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            text[96], *end;
    uint64_t        first, last, from, to;
    registry_str_t  in;

    in = fuzz_str(data, size);

    if (registry_content_range_parse(in, &first, &last) != REGISTRY_OK) {
        return 0;
    }

    fuzz_check(first <= last && last < INT64_MAX);
    fuzz_check(memchr(data, '-', size) != NULL);

    sprintf(text, "%" PRIu64 "-%" PRIu64, first, last);
    fuzz_check(registry_content_range_parse(fuzz_text(text), &from, &to)
               == REGISTRY_OK && from == first && to == last);

    /* an input of digits and a dash says the same to the C library */

    if (data[0] >= '0' && data[0] <= '9' && size < sizeof(text)) {
        memcpy(text, data, size);
        text[size] = '\0';

        from = strtoull(text, &end, 10);
        fuzz_check(from == first && *end == '-');

        to = strtoull(end + 1, &end, 10);
        fuzz_check(to == last && *end == '\0');
    }

    /* a whole that does not hold the range */

    sprintf(text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last,
            last);
    fuzz_check(registry_content_range_parse(fuzz_text(text), &from, &to)
               == REGISTRY_INVALID);

    return 0;
}
