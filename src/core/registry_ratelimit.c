
/*
 * Limits of requests: a number, and a window among parameters that are passed
 * over.
 */


#include "registry_ratelimit.h"


static int registry_ratelimit_number(registry_str_t *in, uint32_t *n);
static void registry_ratelimit_skip(registry_str_t *in, size_t n);


registry_status_e
registry_ratelimit_parse(registry_str_t value, registry_ratelimit_t *limit)
{
    uint32_t  n;

    limit->window = 0;

    if (!registry_ratelimit_number(&value, &limit->requests)) {
        return REGISTRY_INVALID;
    }

    while (value.len && value.data[0] != ',') {

        if (value.len > 2 && value.data[0] == 'w' && value.data[1] == '=') {
            registry_ratelimit_skip(&value, 2);

            if (registry_ratelimit_number(&value, &n)) {
                limit->window = n;
            }

            break;
        }

        /* the next parameter */

        while (value.len && value.data[0] != ',' && value.data[0] != ';') {
            registry_ratelimit_skip(&value, 1);
        }

        while (value.len && (value.data[0] == ';' || value.data[0] == ' ')) {
            registry_ratelimit_skip(&value, 1);
        }
    }

    return REGISTRY_OK;
}


/* takes it off the text, up to what may follow it */

static int
registry_ratelimit_number(registry_str_t *in, uint32_t *n)
{
    char      c;
    size_t    i;
    uint32_t  value;

    value = 0;

    for (i = 0; i < in->len; i++) {
        c = in->data[i];

        if (c < '0' || c > '9') {
            break;
        }

        value = (value > REGISTRY_RATELIMIT_MAX / 10) ? REGISTRY_RATELIMIT_MAX
                                                      : value * 10 + (c - '0');
    }

    if (i == 0) {
        return 0;
    }

    if (i < in->len && in->data[i] != ';' && in->data[i] != ','
        && in->data[i] != ' ')
    {
        return 0;
    }

    registry_ratelimit_skip(in, i);

    *n = value;

    return 1;
}


static void
registry_ratelimit_skip(registry_str_t *in, size_t n)
{
    in->data += n;
    in->len -= n;
}
