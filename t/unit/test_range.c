
/*
 * Content-Range of a chunk and of an answer, Range of a request.
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


static void
check_answer(const char *text, registry_status_e expected, int64_t first,
    int64_t last, int64_t size)
{
    int64_t            from, to, whole;
    registry_str_t     s;
    registry_status_e  status;

    from = to = whole = 77;

    s = unit_text(text);
    status = registry_content_range_answer_parse(s, &from, &to, &whole);
    unit_free(s);

    unit_ok(status == expected
            && (status != REGISTRY_OK
                || (from == first && to == last && whole == size)),
            "\"%s\" of an answer", text);
}


/* against a size of 100: the bytes it means, or -1, -1 for none */

static void
check_byte_range(const char *text, registry_status_e expected, int64_t first,
    int64_t last)
{
    int64_t                from, to;
    registry_str_t         s;
    registry_status_e      status;
    registry_byte_range_t  range;

    s = unit_text(text);
    status = registry_byte_range_parse(s, &range);
    unit_free(s);

    if (!unit_ok(status == expected, "\"%s\" has status %d", text,
                 (int) expected)
        || status != REGISTRY_OK)
    {
        return;
    }

    from = to = -1;
    status = registry_byte_range_of(&range, 100, &from, &to);

    unit_ok(from == first && to == last
            && (status == REGISTRY_OK) == (first != -1),
            "it means the right bytes");

    unit_ok(registry_byte_range_of(&range, 0, &from, &to)
            == REGISTRY_DECLINED, "and none of nothing");
}


static void
check_byte_ranges(void)
{
    size_t                    i;
    static const char *const  bad[] = {
        "", "=", "=0-1", "bytes", "bytes=", "bytes=-", "bytes=--1",
        "bytes=0", "bytes=1-0", "bytes=0-1-2", "bytes=a-b", "bytes=0-b",
        "bytes=0x0-", "bytes=+0-1", "bytes= 0-1", "bytes=0-1 ",
        "bytes=0 -1", "bytes==0-1", "bytes=99999999999999999999-5"
    };

    check_byte_range("bytes=0-0", REGISTRY_OK, 0, 0);
    check_byte_range("bytes=0-99", REGISTRY_OK, 0, 99);
    check_byte_range("bytes=0-100", REGISTRY_OK, 0, 99);
    check_byte_range("Bytes=10-19", REGISTRY_OK, 10, 19);
    check_byte_range("bytes=99-", REGISTRY_OK, 99, 99);
    check_byte_range("bytes=0-", REGISTRY_OK, 0, 99);
    check_byte_range("bytes=100-", REGISTRY_OK, -1, -1);
    check_byte_range("bytes=100-200", REGISTRY_OK, -1, -1);
    check_byte_range("bytes=-1", REGISTRY_OK, 99, 99);
    check_byte_range("bytes=-100", REGISTRY_OK, 0, 99);
    check_byte_range("bytes=-101", REGISTRY_OK, 0, 99);
    check_byte_range("bytes=-0", REGISTRY_OK, -1, -1);
    check_byte_range("bytes=5-9223372036854775807", REGISTRY_OK, 5, 99);
    check_byte_range("bytes=5-99999999999999999999", REGISTRY_OK, 5, 99);
    check_byte_range("bytes=-99999999999999999999", REGISTRY_OK, 0, 99);
    check_byte_range("bytes=99999999999999999999-", REGISTRY_OK, -1, -1);

    check_byte_range("bytes=0-1,5-9", REGISTRY_DECLINED, 0, 0);
    check_byte_range("bytes=0-1,", REGISTRY_DECLINED, 0, 0);
    check_byte_range("items=0-1", REGISTRY_DECLINED, 0, 0);
    check_byte_range("bytes =0-1", REGISTRY_DECLINED, 0, 0);

    for (i = 0; i < unit_count(bad); i++) {
        check_byte_range(bad[i], REGISTRY_INVALID, 0, 0);
    }
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

    check_answer("bytes 0-0/1", REGISTRY_OK, 0, 0, 1);
    check_answer("bytes 5-9/100", REGISTRY_OK, 5, 9, 100);
    check_answer("Bytes 5-9/*", REGISTRY_OK, 5, 9, -1);
    check_answer("bytes 0-9223372036854775805/9223372036854775806",
                 REGISTRY_OK, 0, INT64_MAX - 2, INT64_MAX - 1);
    check_answer("0-9", REGISTRY_INVALID, 0, 0, 0);
    check_answer("bytes */100", REGISTRY_INVALID, 0, 0, 0);
    check_answer("items 0-9/100", REGISTRY_INVALID, 0, 0, 0);

    for (i = 0; i < unit_count(bad); i++) {
        check_answer(bad[i], REGISTRY_INVALID, 0, 0, 0);
    }

    check_byte_ranges();

    return unit_done();
}
