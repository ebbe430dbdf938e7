
/*
 * Paths of the API.
 */


#include "registry_route.h"
#include "unit.h"


#define HEX32  "0123456789abcdef0123456789abcdef"
#define HEX64  HEX32 HEX32
#define SHA256  "sha256:" HEX64
#define UUID  "018f4d0e-6f2b-4c3a-9d4e-5f60718293a4"

#define A255                                                                  \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


typedef struct {
    const char           *path;
    registry_endpoint_e   endpoint;
    const char           *name;
    const char           *reference;
    int                   by_digest;
} good_t;


typedef struct {
    const char           *path;
    registry_error_e      error;
    const char           *name;
    const char           *reference;
} bad_t;


static const good_t  good[] = {
    { "/v2", REGISTRY_ENDPOINT_BASE, "", "", 0 },
    { "/v2/", REGISTRY_ENDPOINT_BASE, "", "", 0 },
    { "/v2/_catalog", REGISTRY_ENDPOINT_CATALOG, "", "", 0 },

    { "/v2/a/tags/list", REGISTRY_ENDPOINT_TAGS, "a", "", 0 },
    { "/v2/a/b/c/tags/list", REGISTRY_ENDPOINT_TAGS, "a/b/c", "", 0 },
    { "/v2/tags/list/tags/list", REGISTRY_ENDPOINT_TAGS, "tags/list", "", 0 },

    { "/v2/a/manifests/latest", REGISTRY_ENDPOINT_MANIFEST, "a", "latest",
      0 },
    { "/v2/a/manifests/" SHA256, REGISTRY_ENDPOINT_MANIFEST, "a", SHA256, 1 },
    { "/v2/a/manifests/sha512:" HEX64 HEX64, REGISTRY_ENDPOINT_MANIFEST, "a",
      "sha512:" HEX64 HEX64, 1 },
    { "/v2/a/manifests/manifests", REGISTRY_ENDPOINT_MANIFEST, "a",
      "manifests", 0 },
    { "/v2/manifests/manifests/manifests", REGISTRY_ENDPOINT_MANIFEST,
      "manifests", "manifests", 0 },
    { "/v2/a/blobs/uploads/manifests/latest", REGISTRY_ENDPOINT_MANIFEST,
      "a/blobs/uploads", "latest", 0 },
    { "/v2/a/tags/manifests/list", REGISTRY_ENDPOINT_MANIFEST, "a/tags",
      "list", 0 },
    { "/v2/" A255 "/manifests/1", REGISTRY_ENDPOINT_MANIFEST, A255, "1", 0 },

    { "/v2/a/referrers/" SHA256, REGISTRY_ENDPOINT_REFERRERS, "a", SHA256,
      1 },

    { "/v2/a/blobs/" SHA256, REGISTRY_ENDPOINT_BLOB, "a", SHA256, 1 },
    { "/v2/x/blobs/uploads/blobs/" SHA256, REGISTRY_ENDPOINT_BLOB,
      "x/blobs/uploads", SHA256, 1 },
    { "/v2/a/uploads/blobs/" SHA256, REGISTRY_ENDPOINT_BLOB, "a/uploads",
      SHA256, 1 },

    { "/v2/a/blobs/uploads", REGISTRY_ENDPOINT_UPLOADS, "a", "", 0 },
    { "/v2/a/blobs/uploads/", REGISTRY_ENDPOINT_UPLOADS, "a", "", 0 },
    { "/v2/x/blobs/uploads/blobs/uploads/", REGISTRY_ENDPOINT_UPLOADS,
      "x/blobs/uploads", "", 0 },
    { "/v2/x/blobs/uploads/blobs/uploads", REGISTRY_ENDPOINT_UPLOADS,
      "x/blobs/uploads", "", 0 },
    { "/v2/blobs/blobs/uploads", REGISTRY_ENDPOINT_UPLOADS, "blobs", "", 0 },

    { "/v2/a/blobs/uploads/" UUID, REGISTRY_ENDPOINT_UPLOAD, "a", UUID, 0 },
    { "/v2/blobs/uploads/blobs/uploads/" UUID, REGISTRY_ENDPOINT_UPLOAD,
      "blobs/uploads", UUID, 0 },
    { "/v2/a/manifests/blobs/uploads/" UUID, REGISTRY_ENDPOINT_UPLOAD,
      "a/manifests", UUID, 0 }
};


static const bad_t  bad[] = {
    { "", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v1/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2x", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2a/manifests/b", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "v2/a/manifests/b", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/_catalog/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/b/c", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/manifests/a", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/blobs/uploads/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/tags/list", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/tags/list/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/tags/all", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/tags/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/uploads/" UUID, REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/b/uploads/" UUID, REGISTRY_UNSUPPORTED_OPERATION, "", "" },
    { "/v2/a/blobs/uploads/" UUID "/", REGISTRY_UNSUPPORTED_OPERATION, "",
      "" },
    { "/v2/a/manifests/b/", REGISTRY_UNSUPPORTED_OPERATION, "", "" },

    { "/v2//manifests/a", REGISTRY_NAME_INVALID, "", "a" },
    { "/v2/A/manifests/a", REGISTRY_NAME_INVALID, "A", "a" },
    { "/v2/../manifests/a", REGISTRY_NAME_INVALID, "..", "a" },
    { "/v2/a/../b/blobs/" SHA256, REGISTRY_NAME_INVALID, "a/../b", SHA256 },
    { "/v2//blobs/uploads/", REGISTRY_NAME_INVALID, "", "" },
    { "/v2/a//b/tags/list", REGISTRY_NAME_INVALID, "a//b", "" },
    { "/v2/_a/tags/list", REGISTRY_NAME_INVALID, "_a", "" },
    { "/v2/a" A255 "/manifests/1", REGISTRY_NAME_INVALID, "a" A255, "1" },
    { "/v2/A/manifests/", REGISTRY_NAME_INVALID, "A", "" },

    { "/v2/a/manifests/", REGISTRY_MANIFEST_INVALID, "a", "" },
    { "/v2/a/manifests/.b", REGISTRY_MANIFEST_INVALID, "a", ".b" },
    { "/v2/a/manifests/..", REGISTRY_MANIFEST_INVALID, "a", ".." },
    { "/v2/a/manifests/a b", REGISTRY_MANIFEST_INVALID, "a", "a b" },

    { "/v2/a/manifests/sha256:baddigeststring", REGISTRY_DIGEST_INVALID, "a",
      "sha256:baddigeststring" },
    { "/v2/a/manifests/md5:0123", REGISTRY_DIGEST_INVALID, "a", "md5:0123" },
    { "/v2/a/manifests/:", REGISTRY_DIGEST_INVALID, "a", ":" },
    { "/v2/a/blobs/", REGISTRY_DIGEST_INVALID, "a", "" },
    { "/v2/a/blobs/latest", REGISTRY_DIGEST_INVALID, "a", "latest" },
    { "/v2/a/blobs/sha384:" HEX64, REGISTRY_DIGEST_INVALID, "a",
      "sha384:" HEX64 },
    { "/v2/a/referrers/latest", REGISTRY_DIGEST_INVALID, "a", "latest" },
    { "/v2/a/referrers/", REGISTRY_DIGEST_INVALID, "a", "" },

    { "/v2/a/blobs/uploads/x", REGISTRY_BLOB_UPLOAD_UNKNOWN, "a", "x" },
    { "/v2/a/blobs/uploads/..", REGISTRY_BLOB_UPLOAD_UNKNOWN, "a", ".." },
    { "/v2/x/blobs/uploads/blobs", REGISTRY_BLOB_UPLOAD_UNKNOWN, "x",
      "blobs" }
};


static int
same(registry_str_t s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}


static int
inside(registry_str_t s, registry_str_t path)
{
    return s.len == 0
           || (s.data >= path.data && s.data + s.len <= path.data + path.len);
}


/* what else says whether a name has one component: where the name is good */

static int
single(registry_str_t path, registry_str_t name, int good_name)
{
    registry_str_t  rest;

    if (path.len < 4) {
        return 1;
    }

    rest.data = path.data + 4;
    rest.len = path.len - 4;

    return registry_route_single(rest)
           == (good_name && name.len != 0
               && memchr(name.data, '/', name.len) == NULL);
}


static void
check_good(const good_t *expected)
{
    int               good_names;
    registry_str_t    path;
    registry_route_t  route;

    memset(&route, 0xee, sizeof(route));
    path = unit_text(expected->path);

    unit_ok(registry_route_parse(path, &route) == REGISTRY_ERROR_NONE
            && route.endpoint == expected->endpoint,
            "%.60s is endpoint %d", expected->path,
            (int) expected->endpoint);

    good_names = same(route.name, expected->name)
                 && same(route.reference, expected->reference)
                 && inside(route.name, path)
                 && inside(route.reference, path);

    unit_ok(good_names, "its name is \"%.60s\"", expected->name);
    unit_ok(route.by_digest == (unsigned) expected->by_digest
            && (!route.by_digest
                || same(route.reference, route.digest.text)),
            "its reference is %sa digest",
            expected->by_digest ? "" : "not ");
    unit_ok(single(path, route.name, 1), "its name has one component or not");

    unit_free(path);
}


static void
check_bad(const bad_t *expected)
{
    registry_str_t    path;
    registry_error_e  error;
    registry_route_t  route;

    memset(&route, 0xee, sizeof(route));
    path = unit_text(expected->path);
    error = registry_route_parse(path, &route);

    if (!unit_ok(error == expected->error, "%.60s is %s", expected->path,
                 registry_error_code(expected->error)))
    {
        printf("# got %s\n", registry_error_code(error));
    }

    unit_ok(same(route.name, expected->name)
            && same(route.reference, expected->reference)
            && route.by_digest == 0,
            "with what was found of name and reference");
    unit_ok(strncmp(expected->path, "/v2/", 4) != 0
            || single(path, route.name, error != REGISTRY_NAME_INVALID),
            "its name has one component or not");

    unit_free(path);
}


int
main(void)
{
    size_t            i;
    registry_str_t    path;
    registry_route_t  route;

    for (i = 0; i < unit_count(good); i++) {
        check_good(&good[i]);
    }

    for (i = 0; i < unit_count(bad); i++) {
        check_bad(&bad[i]);
    }

    path = unit_bytes("/v2/a\0b/manifests/c", 19);
    unit_ok(registry_route_parse(path, &route) == REGISTRY_NAME_INVALID,
            "a zero in the name");
    unit_free(path);

    path = unit_bytes("/v2/a/manifests/c\0", 18);
    unit_ok(registry_route_parse(path, &route) == REGISTRY_MANIFEST_INVALID,
            "a zero in the reference");
    unit_free(path);

    return unit_done();
}
