
/*
 * Query strings and percent-encoding.  Nothing is allocated; results go to
 * the caller's buffers.
 */


#include <string.h>

#include "registry_query.h"


static int registry_query_byte(registry_str_t *in);
static int registry_query_name(registry_str_t in, const char *name);
static int registry_query_plain(char c);


int
registry_query_next(registry_str_t *rest, registry_str_t *name,
    registry_str_t *value)
{
    const char  *p, *end, *equals;

    if (rest->len == 0) {
        return 0;
    }

    p = rest->data;
    end = p + rest->len;

    while (p != end && *p == '&') {
        p++;
    }

    name->data = p;
    equals = NULL;

    while (p != end && *p != '&') {

        if (*p == '=' && equals == NULL) {
            equals = p;
        }

        p++;
    }

    rest->data = p;
    rest->len = (size_t) (end - p);

    if (p == name->data) {
        return 0;
    }

    if (equals == NULL) {
        name->len = (size_t) (p - name->data);
        value->data = p;
        value->len = 0;

        return 1;
    }

    name->len = (size_t) (equals - name->data);
    value->data = equals + 1;
    value->len = (size_t) (p - value->data);

    return 1;
}


registry_status_e
registry_query_decode(registry_str_t in, char *buf, size_t size, size_t *len)
{
    int     c;
    size_t  n;

    n = 0;

    while (in.len) {
        c = registry_query_byte(&in);

        if (c < 0x20 || c == 0x7f || n == size) {
            return REGISTRY_INVALID;
        }

        buf[n++] = (char) c;
    }

    *len = n;

    return REGISTRY_OK;
}


registry_status_e
registry_query_find(registry_str_t query, const char *name, char *buf,
    size_t size, size_t *len)
{
    registry_str_t  n, value;

    while (registry_query_next(&query, &n, &value)) {

        if (registry_query_name(n, name)) {
            return registry_query_decode(value, buf, size, len);
        }
    }

    return REGISTRY_DECLINED;
}


registry_status_e
registry_decimal_parse(registry_str_t in, uint64_t *value)
{
    size_t    i;
    uint64_t  n, digit;

    if (in.len == 0) {
        return REGISTRY_INVALID;
    }

    n = 0;

    for (i = 0; i < in.len; i++) {

        if (in.data[i] < '0' || in.data[i] > '9') {
            return REGISTRY_INVALID;
        }

        digit = (uint64_t) (in.data[i] - '0');

        if (n > (UINT64_MAX - digit) / 10) {
            n = UINT64_MAX;

        } else {
            n = n * 10 + digit;
        }
    }

    *value = n;

    return REGISTRY_OK;
}


int
registry_hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }

    return -1;
}


size_t
registry_query_encode(registry_str_t in, char *buf)
{
    char              *p;
    size_t             i;
    unsigned char      c;
    static const char  hex[] = "0123456789ABCDEF";

    p = buf;

    for (i = 0; i < in.len; i++) {

        if (registry_query_plain(in.data[i])) {
            *p++ = in.data[i];
            continue;
        }

        c = (unsigned char) in.data[i];

        *p++ = '%';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 0xf];
    }

    return (size_t) (p - buf);
}


/* takes one byte off the front, decoded; -1 for a broken escape */

static int
registry_query_byte(registry_str_t *in)
{
    int     high, low;
    char    c;
    size_t  n;

    c = in->data[0];
    n = 1;
    high = 0;
    low = (unsigned char) c;

    if (c == '%') {

        if (in->len < 3) {
            return -1;
        }

        high = registry_hex_value(in->data[1]);
        low = registry_hex_value(in->data[2]);

        if (high == -1 || low == -1) {
            return -1;
        }

        n = 3;
    }

    in->data += n;
    in->len -= n;

    return high << 4 | low;
}


/* whether the encoded bytes spell that name */

static int
registry_query_name(registry_str_t in, const char *name)
{
    while (in.len) {

        if (*name == '\0'
            || registry_query_byte(&in) != (unsigned char) *name)
        {
            return 0;
        }

        name++;
    }

    return *name == '\0';
}


static int
registry_query_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || (c != '\0' && strchr("-._~:/", c) != NULL);
}
