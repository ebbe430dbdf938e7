
/*
 * Content-Range of an upload's chunk, in both spellings that are seen, and of
 * an answer; Range of a request.
 */


#include <string.h>
#include <strings.h>

#include "registry_query.h"
#include "registry_range.h"


#define REGISTRY_RANGE_MAX  ((uint64_t) INT64_MAX - 1)


static int registry_range_bounds(registry_str_t in, uint64_t *first,
    uint64_t *last);
static int registry_range_unit(registry_str_t *in, const char *unit);
static int registry_range_split(registry_str_t in, char c,
    registry_str_t *left, registry_str_t *right);
static int registry_range_number(registry_str_t in, uint64_t *value);
static int registry_range_saturated(registry_str_t in, int64_t *value);


registry_status_e
registry_content_range_parse(registry_str_t in, uint64_t *first,
    uint64_t *last)
{
    int64_t         from, to, size;
    registry_str_t  range;

    range = in;

    if (!registry_range_unit(&range, "bytes ")) {
        return registry_range_bounds(in, first, last) ? REGISTRY_OK
                                                      : REGISTRY_INVALID;
    }

    if (registry_content_range_answer_parse(in, &from, &to, &size)
        != REGISTRY_OK)
    {
        return REGISTRY_INVALID;
    }

    *first = (uint64_t) from;
    *last = (uint64_t) to;

    return REGISTRY_OK;
}


registry_status_e
registry_content_range_answer_parse(registry_str_t in, int64_t *first,
    int64_t *last, int64_t *size)
{
    uint64_t        from, to, whole;
    registry_str_t  range, total;

    if (!registry_range_unit(&in, "bytes ")
        || !registry_range_split(in, '/', &range, &total)
        || !registry_range_bounds(range, &from, &to))
    {
        return REGISTRY_INVALID;
    }

    if (total.len == 1 && total.data[0] == '*') {
        *size = -1;

    } else if (registry_range_number(total, &whole) && whole > to) {
        *size = (int64_t) whole;

    } else {
        return REGISTRY_INVALID;
    }

    *first = (int64_t) from;
    *last = (int64_t) to;

    return REGISTRY_OK;
}


registry_status_e
registry_byte_range_parse(registry_str_t in, registry_byte_range_t *range)
{
    int64_t         from, to;
    registry_str_t  unit, set, left, right;

    if (!registry_range_split(in, '=', &unit, &set) || unit.len == 0) {
        return REGISTRY_INVALID;
    }

    if (!registry_range_unit(&in, "bytes=")
        || registry_range_split(set, ',', &left, &right))
    {
        return REGISTRY_DECLINED;
    }

    if (!registry_range_split(set, '-', &left, &right)
        || (left.len == 0 && right.len == 0))
    {
        return REGISTRY_INVALID;
    }

    from = -1;
    to = -1;

    if ((left.len != 0 && !registry_range_saturated(left, &from))
        || (right.len != 0 && !registry_range_saturated(right, &to))
        || (right.len != 0 && to < from))
    {
        return REGISTRY_INVALID;
    }

    range->first = from;
    range->last = to;

    return REGISTRY_OK;
}


registry_status_e
registry_byte_range_of(const registry_byte_range_t *range, int64_t size,
    int64_t *first, int64_t *last)
{
    int64_t  from, to;

    from = range->first;
    to = range->last;

    if (from == -1) {
        from = to < size ? size - to : 0;
        to = -1;
    }

    if (from >= size) {
        return REGISTRY_DECLINED;
    }

    *first = from;
    *last = to == -1 || to >= size ? size - 1 : to;

    return REGISTRY_OK;
}


static int
registry_range_bounds(registry_str_t in, uint64_t *first, uint64_t *last)
{
    uint64_t        from, to;
    registry_str_t  left, right;

    if (!registry_range_split(in, '-', &left, &right)
        || !registry_range_number(left, &from)
        || !registry_range_number(right, &to)
        || to < from)
    {
        return 0;
    }

    *first = from;
    *last = to;

    return 1;
}


/* takes the unit off the front, if it is this one */

static int
registry_range_unit(registry_str_t *in, const char *unit)
{
    size_t  len;

    len = strlen(unit);

    if (in->len < len || strncasecmp(in->data, unit, len) != 0) {
        return 0;
    }

    in->data += len;
    in->len -= len;

    return 1;
}


static int
registry_range_split(registry_str_t in, char c, registry_str_t *left,
    registry_str_t *right)
{
    const char  *p;

    p = in.len ? memchr(in.data, c, in.len) : NULL;

    if (p == NULL) {
        return 0;
    }

    left->data = in.data;
    left->len = (size_t) (p - in.data);

    right->data = p + 1;
    right->len = in.len - left->len - 1;

    return 1;
}


static int
registry_range_number(registry_str_t in, uint64_t *value)
{
    return registry_decimal_parse(in, value) == REGISTRY_OK
           && *value <= REGISTRY_RANGE_MAX;
}


static int
registry_range_saturated(registry_str_t in, int64_t *value)
{
    uint64_t  n;

    if (registry_decimal_parse(in, &n) != REGISTRY_OK) {
        return 0;
    }

    *value = n < INT64_MAX ? (int64_t) n : INT64_MAX;

    return 1;
}
