
/*
 * Paths of the API: the parts of an accepted path follow their grammars and
 * make up that path again; a refused one has the fault that is reported.
 */


#include "fuzz.h"
#include "registry_name.h"
#include "registry_route.h"
#include "registry_upload.h"


/* what stands between the name and the reference */

static const char *const  words[] = {
    [REGISTRY_ENDPOINT_TAGS] = "/tags/list",
    [REGISTRY_ENDPOINT_MANIFEST] = "/manifests/",
    [REGISTRY_ENDPOINT_REFERRERS] = "/referrers/",
    [REGISTRY_ENDPOINT_BLOB] = "/blobs/",
    [REGISTRY_ENDPOINT_UPLOADS] = "/blobs/uploads/",
    [REGISTRY_ENDPOINT_UPLOAD] = "/blobs/uploads/"
};


static int
same(registry_str_t s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}


static void
check_whole(registry_str_t path, const registry_route_t *route)
{
    char  *text;

    if (route->endpoint == REGISTRY_ENDPOINT_BASE) {
        fuzz_check(same(path, "/v2") || same(path, "/v2/"));
        return;
    }

    if (route->endpoint == REGISTRY_ENDPOINT_CATALOG) {
        fuzz_check(same(path, "/v2/_catalog"));
        return;
    }

    text = malloc(path.len + 32);
    fuzz_check(text != NULL);

    sprintf(text, "/v2/%.*s%s%.*s", (int) route->name.len, route->name.data,
            words[route->endpoint], (int) route->reference.len,
            route->reference.data);

    if (!same(path, text)) {

        /* only this slash may be left out */

        fuzz_check(route->endpoint == REGISTRY_ENDPOINT_UPLOADS);
        text[strlen(text) - 1] = '\0';
        fuzz_check(same(path, text));
    }

    free(text);
}


static void
check_reference(const registry_route_t *route)
{
    registry_digest_t  digest;

    fuzz_check(route->name.len == 0 || registry_name_valid(route->name));

    if (route->by_digest) {
        fuzz_check(registry_digest_parse(route->reference, &digest)
                   == REGISTRY_OK);
        fuzz_check(registry_digest_equal(&digest, &route->digest));
    }

    switch (route->endpoint) {

    case REGISTRY_ENDPOINT_MANIFEST:
        fuzz_check(route->by_digest
                   || registry_tag_valid(route->reference));
        break;

    case REGISTRY_ENDPOINT_BLOB:
    case REGISTRY_ENDPOINT_REFERRERS:
        fuzz_check(route->by_digest);
        break;

    case REGISTRY_ENDPOINT_UPLOAD:
        fuzz_check(registry_upload_id_valid(route->reference));
        fuzz_check(!route->by_digest);
        break;

    default:
        fuzz_check(route->reference.len == 0 && !route->by_digest);
    }
}


static void
check_error(registry_error_e error, const registry_route_t *route)
{
    registry_digest_t  digest;

    fuzz_check(!route->by_digest);

    switch (error) {

    case REGISTRY_NAME_INVALID:
        fuzz_check(!registry_name_valid(route->name));
        return;

    case REGISTRY_UNSUPPORTED_OPERATION:
        fuzz_check(route->name.len == 0 && route->reference.len == 0);
        return;

    case REGISTRY_DIGEST_INVALID:
        fuzz_check(registry_digest_parse(route->reference, &digest)
                   != REGISTRY_OK);
        break;

    case REGISTRY_MANIFEST_INVALID:
        fuzz_check(!registry_tag_valid(route->reference));
        break;

    default:
        fuzz_check(error == REGISTRY_BLOB_UPLOAD_UNKNOWN);
        fuzz_check(!registry_upload_id_valid(route->reference));
    }

    fuzz_check(registry_name_valid(route->name));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    registry_str_t    path;
    registry_error_e  error;
    registry_route_t  route;

    path = fuzz_str(data, size);

    memset(&route, 0xee, sizeof(registry_route_t));
    error = registry_route_parse(path, &route);

    fuzz_check(route.name.len == 0 || fuzz_inside(route.name, path));
    fuzz_check(route.reference.len == 0
               || fuzz_inside(route.reference, path));

    if (error == REGISTRY_ERROR_NONE) {
        check_reference(&route);
        check_whole(path, &route);

    } else {
        check_error(error, &route);
    }

    return 0;
}
