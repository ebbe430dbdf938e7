
/*
 * Content-Range: what is accepted is in order, in bounds, and accepted again
 * in its plain form.  Range: what is accepted says the same when it is
 * written again, and means bytes that are there.
 */


#include <inttypes.h>

#include "fuzz.h"
#include "registry_range.h"


static void
check_answer(registry_str_t in)
{
    int64_t   first, last, size;
    uint64_t  from, to;

    if (registry_content_range_answer_parse(in, &first, &last, &size)
        != REGISTRY_OK)
    {
        return;
    }

    fuzz_check(first >= 0 && first <= last && last < INT64_MAX);
    fuzz_check(size == -1 || (size > last && size < INT64_MAX));

    fuzz_check(registry_content_range_parse(in, &from, &to) == REGISTRY_OK
               && from == (uint64_t) first && to == (uint64_t) last);
}


static void
check_byte_range(registry_str_t in)
{
    int                    n;
    char                   text[96];
    size_t                 i;
    int64_t                first, last;
    registry_byte_range_t  range, again;
    static const int64_t   sizes[] = { 0, 1, 2, 1000, INT64_MAX };

    if (registry_byte_range_parse(in, &range) != REGISTRY_OK) {
        return;
    }

    fuzz_check(range.first >= -1 && range.last >= -1);
    fuzz_check(range.first != -1 || range.last != -1);
    fuzz_check(range.last == -1 || range.last >= range.first);

    n = sprintf(text, "bytes=");

    if (range.first != -1) {
        n += sprintf(text + n, "%" PRId64, range.first);
    }

    n += sprintf(text + n, "-");

    if (range.last != -1) {
        sprintf(text + n, "%" PRId64, range.last);
    }

    fuzz_check(registry_byte_range_parse(fuzz_text(text), &again)
               == REGISTRY_OK);
    fuzz_check(again.first == range.first && again.last == range.last);

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {

        if (registry_byte_range_of(&range, sizes[i], &first, &last)
            == REGISTRY_OK)
        {
            fuzz_check(first >= 0 && first <= last && last < sizes[i]);
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            text[96], *end;
    uint64_t        first, last, from, to;
    registry_str_t  in;

    in = fuzz_str(data, size);

    check_answer(in);
    check_byte_range(in);

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
