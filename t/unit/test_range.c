
/*
 * Content-Range of a chunk.
 */


#include <inttypes.h>

#include "registry_range.h"
#include "unit.h"


static void
check_range(const char *text, uint64_t first, uint64_t last)
{
    uint64_t           from, to;
    registry_str_t     s;
    registry_status_e  status;

    from = 77;
    to = 77;

    s = unit_text(text);
    status = registry_content_range_parse(s, &from, &to);
    unit_free(s);

    if (!unit_ok(status == REGISTRY_OK && from == first && to == last,
                 "\"%s\" is a range", text))
    {
        printf("# status %d, %" PRIu64 "-%" PRIu64 "\n", (int) status, from,
               to);
    }
}


static void
check_invalid(const char *text)
{
    uint64_t           from, to;
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text(text);
    status = registry_content_range_parse(s, &from, &to);
    unit_free(s);

    unit_ok(status == REGISTRY_INVALID, "\"%s\" is no range", text);
}


int
main(void)
{
    size_t                    i;
    static const char *const  bad[] = {
        "", "-", "0", "0-", "-0", "-5", "1-0", "0-1-2", "0--1", "a-b",
        "0x0-0x1", "+0-1", "0-+1", " 0-1", "0-1 ", "0 - 1", "0-1/2",
        "0-1/*", "bytes", "bytes ", "bytes 0-1", "bytes 0-1/", "bytes */5",
        "bytes 0-1/1", "bytes 0-1/a", "bytes 0-1/**", "bytes 0-1/*/",
        "bytes  0-1/2", "bytes=0-1/2", "bits 0-1/2", "byte 0-1/2",
        "bytes 0-1/-2", "bytes 1-0/2", "0-9223372036854775807",
        "9223372036854775807-9223372036854775807",
        "0-18446744073709551615", "0-18446744073709551616",
        "0-99999999999999999999999999999999", "bytes 0-1/9223372036854775807",
        "0-1,2-3"
    };

    check_range("0-0", 0, 0);
    check_range("0-1023", 0, 1023);
    check_range("1024-2047", 1024, 2047);
    check_range("000-009", 0, 9);
    check_range("5-9223372036854775806", 5, 9223372036854775806u);
    check_range("bytes 0-9/10", 0, 9);
    check_range("bytes 0-9/*", 0, 9);
    check_range("bytes 5-9/100", 5, 9);
    check_range("Bytes 5-9/100", 5, 9);

    for (i = 0; i < unit_count(bad); i++) {
        check_invalid(bad[i]);
    }

    return unit_done();
}
