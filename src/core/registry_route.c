
/*
 * Paths of the API.  A repository may have components called "blobs",
 * "manifests" or "uploads", so a path is read from its end: the last
 * component but one says what it is, and the name is what remains.
 */


#include <string.h>

#include "registry_name.h"
#include "registry_route.h"
#include "registry_upload.h"


typedef struct {
    registry_str_t       word;
    registry_endpoint_e  endpoint;
} registry_route_word_t;


static const registry_route_word_t  registry_route_words[] = {
    { registry_str("manifests"), REGISTRY_ENDPOINT_MANIFEST },
    { registry_str("blobs"), REGISTRY_ENDPOINT_BLOB },
    { registry_str("uploads"), REGISTRY_ENDPOINT_UPLOAD },
    { registry_str("tags"), REGISTRY_ENDPOINT_TAGS },
    { registry_str("referrers"), REGISTRY_ENDPOINT_REFERRERS }
};

#define REGISTRY_ROUTE_WORDS                                                  \
    (sizeof(registry_route_words) / sizeof(registry_route_words[0]))


static size_t registry_route_component(registry_str_t path);
static size_t registry_route_word(registry_str_t word);
static int registry_route_pop(registry_str_t *rest, registry_str_t *last);
static int registry_route_is(registry_str_t s, const char *word, size_t len);
static int registry_route_endpoint(registry_str_t rest,
    registry_route_t *route);
static registry_error_e registry_route_reference(registry_route_t *route);
static registry_error_e registry_route_digest(registry_route_t *route);


registry_error_e
registry_route_parse(registry_str_t path, registry_route_t *route)
{
    registry_str_t               rest;
    static const registry_str_t  prefix = registry_str("/v2/");

    memset(route, 0, sizeof(registry_route_t));
    route->name.data = "";
    route->reference.data = "";

    if (registry_route_is(path, "/v2", 3)) {
        return REGISTRY_ERROR_NONE;
    }

    if (path.len < prefix.len
        || memcmp(path.data, prefix.data, prefix.len) != 0)
    {
        return REGISTRY_UNSUPPORTED_OPERATION;
    }

    rest.data = path.data + prefix.len;
    rest.len = path.len - prefix.len;

    if (rest.len == 0) {
        return REGISTRY_ERROR_NONE;
    }

    if (registry_route_is(rest, "_catalog", 8)) {
        route->endpoint = REGISTRY_ENDPOINT_CATALOG;
        return REGISTRY_ERROR_NONE;
    }

    if (!registry_route_endpoint(rest, route)) {
        return REGISTRY_UNSUPPORTED_OPERATION;
    }

    if (!registry_name_valid(route->name)) {
        return REGISTRY_NAME_INVALID;
    }

    return registry_route_reference(route);
}


int
registry_route_single(registry_str_t path)
{
    size_t            len;
    registry_str_t    word;
    registry_route_t  route;

    /* most names are of more, and their second is no word of the API */

    len = registry_route_component(path);

    if (len == path.len) {
        return 0;
    }

    word.data = path.data + len + 1;
    word.len = path.len - len - 1;
    word.len = registry_route_component(word);

    return registry_route_word(word) != REGISTRY_ROUTE_WORDS
           && registry_route_endpoint(path, &route)
           && route.name.len == len
           && registry_name_valid(route.name);
}


/* the length of what stands before the first slash */

static size_t
registry_route_component(registry_str_t path)
{
    size_t  n;

    for (n = 0; n < path.len && path.data[n] != '/'; n++) {
        /* void */
    }

    return n;
}


/* its index, or REGISTRY_ROUTE_WORDS */

static size_t
registry_route_word(registry_str_t word)
{
    size_t  i;

    for (i = 0; i < REGISTRY_ROUTE_WORDS; i++) {
        if (registry_route_is(word, registry_route_words[i].word.data,
                              registry_route_words[i].word.len))
        {
            break;
        }
    }

    return i;
}


/* sets the endpoint, the name and the reference, none of them checked */

static int
registry_route_endpoint(registry_str_t rest, registry_route_t *route)
{
    size_t          i;
    registry_str_t  last, word, blobs;

    if (!registry_route_pop(&rest, &last)
        || !registry_route_pop(&rest, &word))
    {
        return 0;
    }

    i = registry_route_word(word);

    if (i == REGISTRY_ROUTE_WORDS) {
        return 0;
    }

    route->endpoint = registry_route_words[i].endpoint;

    switch (route->endpoint) {

    case REGISTRY_ENDPOINT_TAGS:
        if (!registry_route_is(last, "list", 4)) {
            return 0;
        }

        route->name = rest;

        return 1;

    case REGISTRY_ENDPOINT_UPLOAD:
        if (!registry_route_pop(&rest, &blobs)
            || !registry_route_is(blobs, "blobs", 5))
        {
            return 0;
        }

        if (last.len == 0) {
            route->endpoint = REGISTRY_ENDPOINT_UPLOADS;
        }

        break;

    case REGISTRY_ENDPOINT_BLOB:

        /* "uploads" is no digest, so this is no blob */

        if (registry_route_is(last, "uploads", 7)) {
            route->endpoint = REGISTRY_ENDPOINT_UPLOADS;
            last.len = 0;
        }

        break;

    default:
        break;
    }

    route->name = rest;
    route->reference = last;

    return 1;
}


static registry_error_e
registry_route_reference(registry_route_t *route)
{
    switch (route->endpoint) {

    case REGISTRY_ENDPOINT_MANIFEST:

        /* no tag holds a colon, every digest does */

        if (route->reference.len != 0
            && memchr(route->reference.data, ':', route->reference.len))
        {
            return registry_route_digest(route);
        }

        return registry_tag_valid(route->reference)
               ? REGISTRY_ERROR_NONE : REGISTRY_MANIFEST_INVALID;

    case REGISTRY_ENDPOINT_BLOB:
    case REGISTRY_ENDPOINT_REFERRERS:
        return registry_route_digest(route);

    case REGISTRY_ENDPOINT_UPLOAD:
        return registry_upload_id_valid(route->reference)
               ? REGISTRY_ERROR_NONE : REGISTRY_BLOB_UPLOAD_UNKNOWN;

    default:
        return REGISTRY_ERROR_NONE;
    }
}


static registry_error_e
registry_route_digest(registry_route_t *route)
{
    if (registry_digest_parse(route->reference, &route->digest)
        != REGISTRY_OK)
    {
        return REGISTRY_DIGEST_INVALID;
    }

    route->by_digest = 1;

    return REGISTRY_ERROR_NONE;
}


/* takes "/last" off the end; 0 if there is no slash, *rest is as it was */

static int
registry_route_pop(registry_str_t *rest, registry_str_t *last)
{
    size_t  n;

    for (n = rest->len; n > 0; n--) {

        if (rest->data[n - 1] == '/') {
            last->data = rest->data + n;
            last->len = rest->len - n;
            rest->len = n - 1;

            return 1;
        }
    }

    return 0;
}


static int
registry_route_is(registry_str_t s, const char *word, size_t len)
{
    return s.len == len && memcmp(s.data, word, len) == 0;
}
