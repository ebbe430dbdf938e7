
/*
 * Content-Range of an upload's chunk, in both spellings that are seen.
 */


#include <string.h>
#include <strings.h>

#include "registry_query.h"
#include "registry_range.h"


#define REGISTRY_RANGE_MAX  ((uint64_t) INT64_MAX - 1)


static int registry_range_split(registry_str_t in, char c,
    registry_str_t *left, registry_str_t *right);
static int registry_range_number(registry_str_t in, uint64_t *value);


registry_status_e
registry_content_range_parse(registry_str_t in, uint64_t *first,
    uint64_t *last)
{
    uint64_t           from, to, size;
    registry_str_t     range, whole, left, right;
    static const char  unit[] = "bytes ";

    range = in;
    whole.len = 0;

    if (in.len >= sizeof(unit) - 1
        && strncasecmp(in.data, unit, sizeof(unit) - 1) == 0)
    {
        in.data += sizeof(unit) - 1;
        in.len -= sizeof(unit) - 1;

        if (!registry_range_split(in, '/', &range, &whole)
            || whole.len == 0)
        {
            return REGISTRY_INVALID;
        }
    }

    if (!registry_range_split(range, '-', &left, &right)
        || !registry_range_number(left, &from)
        || !registry_range_number(right, &to)
        || to < from)
    {
        return REGISTRY_INVALID;
    }

    if (whole.len != 0 && (whole.len != 1 || whole.data[0] != '*')) {

        if (!registry_range_number(whole, &size) || size <= to) {
            return REGISTRY_INVALID;
        }
    }

    *first = from;
    *last = to;

    return REGISTRY_OK;
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
