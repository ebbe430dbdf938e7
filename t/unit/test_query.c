
/*
 * Query strings and percent-encoding.
 */


#include "registry_query.h"
#include "unit.h"


/* the parameters joined as name=value; by semicolons */

static void
check_next(const char *query, const char *expected)
{
    int             n;
    char            joined[256];
    registry_str_t  s, rest, name, value;

    s = unit_text(query);
    rest = s;
    n = 0;
    joined[0] = '\0';

    while (registry_query_next(&rest, &name, &value)) {
        n += sprintf(joined + n, "%.*s=%.*s;", (int) name.len, name.data,
                     (int) value.len, value.data);
    }

    unit_is(joined, expected, "the parameters one by one");
    unit_ok(rest.len == 0, "nothing is left of them");
    unit_free(s);
}


static void
check_decode(const char *text, const char *expected)
{
    char               buf[64];
    size_t             len;
    registry_str_t     s;
    registry_status_e  status;

    len = 0;
    s = unit_text(text);
    status = registry_query_decode(s, buf, sizeof(buf) - 1, &len);
    unit_free(s);

    if (expected == NULL) {
        unit_ok(status == REGISTRY_INVALID, "\"%s\" cannot be decoded", text);
        return;
    }

    buf[len] = '\0';

    if (unit_ok(status == REGISTRY_OK, "\"%s\" can be decoded", text)) {
        unit_is(buf, expected, "to what it stands for");
    }
}


static void
check_decode_size(void)
{
    char               buf[4];
    size_t             len;
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text("%61b%63");

    memset(buf, 'x', sizeof(buf));
    status = registry_query_decode(s, buf, 3, &len);
    unit_ok(status == REGISTRY_OK && len == 3, "a result that just fits");
    unit_ok(memcmp(buf, "abcx", 4) == 0, "is not terminated");

    memset(buf, 'x', sizeof(buf));
    status = registry_query_decode(s, buf, 2, &len);
    unit_ok(status == REGISTRY_INVALID, "a result that does not");
    unit_ok(memcmp(buf + 2, "xx", 2) == 0, "is not written behind the end");

    unit_free(s);

    s = unit_text("");
    status = registry_query_decode(s, buf, 0, &len);
    unit_ok(status == REGISTRY_OK && len == 0, "nothing fits into nothing");
    unit_free(s);
}


static void
check_find(const char *query, const char *name, registry_status_e expected,
    const char *value)
{
    char               buf[64];
    size_t             len;
    registry_str_t     s;
    registry_status_e  status;

    len = 0;
    s = unit_text(query);
    status = registry_query_find(s, name, buf, sizeof(buf) - 1, &len);
    unit_free(s);

    unit_ok(status == expected, "looking for \"%s\" in \"%s\"", name, query);

    if (status == REGISTRY_OK && value != NULL) {
        buf[len] = '\0';
        unit_is(buf, value, "its value");
    }
}


static void
check_decimal(const char *text, registry_status_e expected, uint64_t value)
{
    uint64_t           got;
    registry_str_t     s;
    registry_status_e  status;

    got = 0;
    s = unit_text(text);
    status = registry_decimal_parse(s, &got);
    unit_free(s);

    unit_ok(status == expected && (status != REGISTRY_OK || got == value),
            "\"%s\" as a number", text);
}


static void
check_encode(void)
{
    int             c, n;
    char            all[256], buf[3 * 256 + 1];
    size_t          len;
    registry_str_t  s;

    s = unit_text("application/vnd.oci+json; a=\"b\"&%\xff");
    len = registry_query_encode(s, buf);
    buf[len] = '\0';
    unit_is(buf, "application/vnd.oci%2Bjson%3B%20a%3D%22b%22%26%25%FF",
            "what is encoded, and what is not");
    unit_free(s);

    n = 0;

    for (c = 0; c < 256; c++) {
        all[c] = (char) c;
    }

    s = unit_bytes(all, sizeof(all));
    len = registry_query_encode(s, buf);
    unit_free(s);

    for (c = 0; c < (int) len; c++) {
        n += buf[c] == '%';
    }

    unit_is_number(256 - n, 26 + 26 + 10 + 4 + 2, "bytes that stay plain");
    unit_is_number((long long) len, 256 + 2 * n, "the others take three");
}


int
main(void)
{
    registry_str_t  rest, name, value;

    check_next("", "");
    check_next("&&&", "");
    check_next("a=1", "a=1;");
    check_next("a=1&b=2", "a=1;b=2;");
    check_next("&a=1&&b=2&", "a=1;b=2;");
    check_next("a", "a=;");
    check_next("a=", "a=;");
    check_next("=1", "=1;");
    check_next("a=1=2", "a=1=2;");
    check_next("a=%26&b", "a=%26;b=;");
    check_next("mount=sha256:00&from=x/y", "mount=sha256:00;from=x/y;");

    rest.data = NULL;
    rest.len = 0;
    unit_ok(!registry_query_next(&rest, &name, &value),
            "no parameter in no query");

    check_decode("", "");
    check_decode("abc", "abc");
    check_decode("a%20b", "a b");
    check_decode("%2f%2F", "//");
    check_decode("sha256%3Aabc", "sha256:abc");
    check_decode("a+json", "a+json");
    check_decode("%25%32%35", "%25");
    check_decode("%c3%A9", "\xc3\xa9");
    check_decode("%", NULL);
    check_decode("%2", NULL);
    check_decode("a%2", NULL);
    check_decode("%g0", NULL);
    check_decode("%0g", NULL);
    check_decode("%%41", NULL);
    check_decode("%00", NULL);
    check_decode("%0d%0a", NULL);
    check_decode("%1F", NULL);
    check_decode("%7f", NULL);
    check_decode("\x01", NULL);
    check_decode("a\nb", NULL);
    check_decode("\x7f", NULL);
    check_decode_size();

    check_find("n=5&last=b", "last", REGISTRY_OK, "b");
    check_find("n=5&n=6", "n", REGISTRY_OK, "5");
    check_find("nn=5", "n", REGISTRY_DECLINED, NULL);
    check_find("n=5", "nn", REGISTRY_DECLINED, NULL);
    check_find("", "n", REGISTRY_DECLINED, NULL);
    check_find("N=5", "n", REGISTRY_DECLINED, NULL);
    check_find("n", "n", REGISTRY_OK, "");
    check_find("%6e=5", "n", REGISTRY_OK, "5");
    check_find("%6=5&n=6", "n", REGISTRY_OK, "6");
    check_find("digest=sha256%3aab", "digest", REGISTRY_OK, "sha256:ab");
    check_find("n=%", "n", REGISTRY_INVALID, NULL);
    check_find("n=%&n=1", "n", REGISTRY_INVALID, NULL);
    check_find("x=%&n=1", "n", REGISTRY_OK, "1");

    check_decimal("0", REGISTRY_OK, 0);
    check_decimal("007", REGISTRY_OK, 7);
    check_decimal("1000000000", REGISTRY_OK, 1000000000);
    check_decimal("18446744073709551614", REGISTRY_OK, UINT64_MAX - 1);
    check_decimal("18446744073709551615", REGISTRY_OK, UINT64_MAX);
    check_decimal("18446744073709551616", REGISTRY_OK, UINT64_MAX);
    check_decimal("184467440737095516150", REGISTRY_OK, UINT64_MAX);
    check_decimal("99999999999999999999999999", REGISTRY_OK, UINT64_MAX);
    check_decimal("", REGISTRY_INVALID, 0);
    check_decimal("-1", REGISTRY_INVALID, 0);
    check_decimal("+1", REGISTRY_INVALID, 0);
    check_decimal(" 1", REGISTRY_INVALID, 0);
    check_decimal("1 ", REGISTRY_INVALID, 0);
    check_decimal("0x1", REGISTRY_INVALID, 0);
    check_decimal("1e3", REGISTRY_INVALID, 0);
    check_decimal("99999999999999999999999999x", REGISTRY_INVALID, 0);

    check_encode();

    return unit_done();
}
