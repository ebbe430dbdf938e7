
/*
 * Query strings, percent-encoding, decimal numbers.  The first line of the
 * input is a parameter's name to look for, the second a number, the rest is
 * a query.
 */


#include <errno.h>
#include <inttypes.h>

#include "fuzz.h"
#include "registry_query.h"


#define NAME_MAX_LEN  31


static void
check_decimal(registry_str_t in)
{
    char      text[32], *end;
    size_t    i;
    uint64_t  value, expected;

    for (i = 0; i < in.len; i++) {
        if (in.data[i] < '0' || in.data[i] > '9') {
            break;
        }
    }

    if (registry_decimal_parse(in, &value) != REGISTRY_OK) {
        fuzz_check(in.len == 0 || i < in.len);
        return;
    }

    fuzz_check(in.len != 0 && i == in.len);

    while (in.len > 1 && in.data[0] == '0') {
        in = fuzz_str(in.data + 1, in.len - 1);
    }

    if (in.len >= sizeof(text)) {
        fuzz_check(value == UINT64_MAX);
        return;
    }

    sprintf(text, "%.*s", (int) in.len, in.data);

    errno = 0;
    expected = strtoull(text, &end, 10);

    fuzz_check(value == (errno == ERANGE ? UINT64_MAX : expected));
}


/* any bytes come back from being encoded */

static void
check_encode(registry_str_t in)
{
    int                control;
    char              *encoded, *decoded;
    size_t             i, n, len;
    registry_status_e  status;

    encoded = malloc(3 * in.len + 1);
    decoded = malloc(in.len + 1);
    fuzz_check(encoded != NULL && decoded != NULL);

    n = registry_query_encode(in, encoded);
    fuzz_check(n >= in.len && n <= 3 * in.len);

    for (i = 0; i < n; i++) {
        fuzz_check(encoded[i] > 0x20 && encoded[i] < 0x7f
                   && strchr("\"<>\\^`{|}&=+#?;,", encoded[i]) == NULL);
    }

    control = 0;

    for (i = 0; i < in.len; i++) {
        control |= (unsigned char) in.data[i] < 0x20 || in.data[i] == 0x7f;
    }

    status = registry_query_decode(fuzz_str(encoded, n), decoded, in.len,
                                   &len);

    if (control) {
        fuzz_check(status == REGISTRY_INVALID);

    } else {
        fuzz_check(status == REGISTRY_OK && len == in.len
                   && memcmp(decoded, in.data, len) == 0);

        /* and do not go beyond their room */

        fuzz_check(len == 0
                   || registry_query_decode(fuzz_str(encoded, n), decoded,
                                            in.len - 1, &len)
                      == REGISTRY_INVALID);
    }

    free(encoded);
    free(decoded);
}


static void
check_decode(registry_str_t in)
{
    char    *buf;
    size_t   i, len;

    buf = malloc(in.len + 1);
    fuzz_check(buf != NULL);

    if (registry_query_decode(in, buf, in.len, &len) == REGISTRY_OK) {
        fuzz_check(len <= in.len);

        for (i = 0; i < len; i++) {
            fuzz_check((unsigned char) buf[i] >= 0x20 && buf[i] != 0x7f);
        }

        if (memchr(in.data, '%', in.len) == NULL) {
            fuzz_check(len == in.len && memcmp(buf, in.data, len) == 0);
        }
    }

    free(buf);
}


/* the first that decodes to the name is the one that is found */

static void
check_find(registry_str_t query, const char *name)
{
    char               got[64], expected[64], decoded[NAME_MAX_LEN + 1];
    size_t             len, n;
    registry_str_t     rest, key, value;
    registry_status_e  status;

    status = registry_query_find(query, name, got, sizeof(got), &len);

    rest = query;

    while (registry_query_next(&rest, &key, &value)) {

        if (registry_query_decode(key, decoded, sizeof(decoded), &n)
            != REGISTRY_OK
            || n != strlen(name) || memcmp(decoded, name, n) != 0)
        {
            continue;
        }

        fuzz_check(registry_query_decode(value, expected, sizeof(expected),
                                         &n)
                   == status);
        fuzz_check(status != REGISTRY_OK
                   || (n == len && memcmp(got, expected, n) == 0));
        return;
    }

    fuzz_check(status == REGISTRY_DECLINED);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            text[NAME_MAX_LEN + 1];
    size_t          i, left;
    registry_str_t  query, rest, name, number, value;

    query = fuzz_str(data, size);

    name = fuzz_line(&query);
    number = fuzz_line(&query);

    check_decimal(number);
    check_encode(query);
    check_decode(query);

    rest = query;

    for (left = rest.len + 1;
         registry_query_next(&rest, &name, &value);
         left = rest.len)
    {
        fuzz_check(rest.len < left);
        fuzz_check(fuzz_inside(name, query) && fuzz_inside(value, query));
        fuzz_check(name.len == 0 || !memchr(name.data, '=', name.len));
        fuzz_check(value.len == 0 || !memchr(value.data, '&', value.len));
        fuzz_check(name.len + value.len != 0 || value.data > name.data);
    }

    fuzz_check(rest.len == 0);

    /* a name as callers have it: a constant without control characters */

    name = fuzz_str(data, size);
    name = fuzz_line(&name);

    if (name.len > NAME_MAX_LEN) {
        return 0;
    }

    for (i = 0; i < name.len; i++) {
        if ((unsigned char) name.data[i] < 0x20 || name.data[i] == 0x7f) {
            return 0;
        }

        text[i] = name.data[i];
    }

    text[i] = '\0';
    check_find(query, text);

    return 0;
}
