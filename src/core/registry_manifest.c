
/*
 * Manifests.  What is kept of the JSON are the descriptors, and the few
 * members that a list of referrers repeats.
 */


#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registry_json.h"
#include "registry_manifest.h"


#define REGISTRY_TYPE_SCHEMA1                                                 \
    "application/vnd.docker.distribution.manifest.v1"
#define REGISTRY_TYPE_NONDISTRIBUTABLE                                        \
    "application/vnd.oci.image.layer.nondistributable.v1."
#define REGISTRY_TYPE_FOREIGN                                                 \
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


struct registry_manifest_s {
    json_t                 *root;
    char                    type[REGISTRY_MEDIA_TYPE_MAX + 1];
    unsigned                type_is_own:1;
    unsigned                index:1;
    unsigned                has_subject:1;
    registry_digest_t       subject;
    size_t                  n;
    registry_descriptor_t  *descriptors;
};


/* the members that hold descriptors */

typedef struct {
    const char             *name;
    registry_descriptor_e   type;
} registry_manifest_member_t;


static const registry_manifest_member_t  registry_manifest_lists[] = {
    { "layers", REGISTRY_DESCRIPTOR_BLOB },
    { "blobs", REGISTRY_DESCRIPTOR_BLOB },
    { "manifests", REGISTRY_DESCRIPTOR_MANIFEST }
};

#define REGISTRY_MANIFEST_LISTS                                               \
    (sizeof(registry_manifest_lists) / sizeof(registry_manifest_lists[0]))


/* what no variant means, as clients take it */

typedef struct {
    registry_str_t          architecture;
    registry_str_t          variant;
} registry_variant_t;


static const registry_variant_t  registry_variants[] = {
    { registry_str("amd64"), registry_str("v1") },
    { registry_str("arm"), registry_str("v7") },
    { registry_str("arm64"), registry_str("v8") }
};


static const registry_str_t  registry_unknown = registry_str("unknown");


static const char  registry_manifest_schema1[] =
    "manifests of schema 1 are not supported";


static registry_status_e registry_manifest_read(registry_manifest_t *m,
    registry_str_t content_type, const char **reason);
static const char *registry_manifest_set_type(registry_manifest_t *m,
    registry_str_t content_type);
static const char *registry_manifest_check_kind(registry_manifest_t *m);
static const char *registry_manifest_implied_type(const json_t *root);
static int registry_manifest_has_image(const json_t *root);
static int registry_type_is_index(const char *type);
static registry_status_e registry_manifest_collect(registry_manifest_t *m,
    const char **reason);
static const char *registry_manifest_count(const json_t *root, size_t *n);
static const char *registry_descriptor_read(const json_t *json,
    registry_digest_t *digest, uint64_t *size);
static int registry_descriptor_is_foreign(const json_t *json);
static int registry_descriptor_is_image(const json_t *json);
static int registry_platform_word(registry_str_t *text, int dots,
    registry_str_t *word);
static void registry_platform_read(const json_t *json,
    registry_platform_t *platform);
static registry_str_t registry_platform_variant(
    const registry_platform_t *platform);
static json_t *registry_manifest_annotations(json_t *all);
static int registry_media_type_valid(registry_str_t type);
static registry_str_t registry_media_type_bare(registry_str_t content_type);
static int registry_str_starts(registry_str_t s, const char *prefix);
static int registry_str_same(registry_str_t a, registry_str_t b);


registry_status_e
registry_manifest_parse(registry_str_t in, registry_str_t content_type,
    registry_manifest_t **manifest, const char **reason)
{
    registry_status_e     status;
    registry_manifest_t  *m;

    if (in.len > (size_t) REGISTRY_MANIFEST_MAX) {
        *reason = "the manifest is too large";
        return REGISTRY_INVALID;
    }

    m = calloc(1, sizeof(registry_manifest_t));
    if (m == NULL) {
        return REGISTRY_NOMEM;
    }

    status = registry_json_load(in, JSON_REJECT_DUPLICATES, &m->root, reason);

    if (status == REGISTRY_OK) {
        status = registry_manifest_read(m, content_type, reason);
    }

    if (status != REGISTRY_OK) {
        registry_manifest_free(m);
        return status;
    }

    *manifest = m;

    return REGISTRY_OK;
}


void
registry_manifest_free(registry_manifest_t *manifest)
{
    if (manifest == NULL) {
        return;
    }

    json_decref(manifest->root);
    free(manifest->descriptors);
    free(manifest);
}


const char *
registry_manifest_type(const registry_manifest_t *manifest)
{
    return manifest->type;
}


int
registry_manifest_type_is_own(const registry_manifest_t *manifest)
{
    return manifest->type_is_own;
}


int
registry_manifest_is_index(const registry_manifest_t *manifest)
{
    return manifest->index;
}


const registry_descriptor_t *
registry_manifest_descriptors(const registry_manifest_t *manifest, size_t *n)
{
    *n = manifest->n;

    return manifest->descriptors;
}


registry_status_e
registry_platform_parse(registry_str_t text, registry_platform_t *platform)
{
    memset(platform, 0, sizeof(registry_platform_t));

    if (!registry_platform_word(&text, 0, &platform->os)
        || !registry_platform_word(&text, 0, &platform->architecture)
        || (text.data != NULL
            && (!registry_platform_word(&text, 1, &platform->variant)
                || text.data != NULL))
        || registry_str_same(platform->os, registry_unknown)
        || registry_str_same(platform->architecture, registry_unknown))
    {
        return REGISTRY_INVALID;
    }

    return REGISTRY_OK;
}


int
registry_manifest_is_for(const registry_manifest_t *manifest,
    size_t descriptor, const registry_platform_t *platforms, size_t n)
{
    size_t                i;
    json_t               *json;
    registry_str_t        variant;
    registry_platform_t   own;

    json = json_array_get(json_object_get(manifest->root, "manifests"),
                          descriptor);

    if (!registry_descriptor_is_image(json)) {
        return 0;
    }

    registry_platform_read(json_object_get(json, "platform"), &own);
    variant = registry_platform_variant(&own);

    if (n == 0) {
        return !registry_str_same(own.os, registry_unknown)
               || !registry_str_same(own.architecture, registry_unknown);
    }

    for (i = 0; i < n; i++) {
        if (registry_str_same(platforms[i].os, own.os)
            && registry_str_same(platforms[i].architecture, own.architecture)
            && (platforms[i].variant.len == 0
                || registry_str_same(platforms[i].variant, variant)))
        {
            return 1;
        }
    }

    return 0;
}


const registry_digest_t *
registry_manifest_subject(const registry_manifest_t *manifest)
{
    return manifest->has_subject ? &manifest->subject : NULL;
}


char *
registry_manifest_descriptor(const registry_manifest_t *manifest,
    const registry_digest_t *digest, uint64_t size, size_t *len)
{
    int      rc;
    char    *text;
    json_t  *descriptor, *type, *annotations;

    descriptor = json_object();
    if (descriptor == NULL) {
        return NULL;
    }

    text = NULL;

    rc = json_object_set_new(descriptor, "mediaType",
                             json_string(manifest->type));
    rc |= json_object_set_new(descriptor, "digest",
                              json_string(digest->text));
    rc |= json_object_set_new(descriptor, "size",
                              json_integer((json_int_t) size));

    type = json_object_get(manifest->root, "artifactType");

    if (registry_json_text(type).len == 0) {
        type = json_object_get(json_object_get(manifest->root, "config"),
                               "mediaType");
    }

    if (registry_json_text(type).len != 0) {
        rc |= json_object_set(descriptor, "artifactType", type);
    }

    annotations = json_object_get(manifest->root, "annotations");

    if (json_is_object(annotations)) {
        rc |= json_object_set_new(descriptor, "annotations",
                                  registry_manifest_annotations(annotations));
    }

    if (rc == 0) {
        text = json_dumps(descriptor, JSON_COMPACT);
    }

    json_decref(descriptor);

    if (text != NULL) {
        *len = strlen(text);
    }

    return text;
}


registry_status_e
registry_descriptor_has_type(registry_str_t descriptor,
    registry_str_t artifact_type)
{
    json_t             *root;
    const char         *reason;
    registry_str_t      type;
    registry_status_e   status;

    status = registry_json_load(descriptor, 0, &root, &reason);
    if (status != REGISTRY_OK) {
        return status;
    }

    type = registry_json_text(json_object_get(root, "artifactType"));

    if (type.len == 0 || type.len != artifact_type.len
        || memcmp(type.data, artifact_type.data, type.len) != 0)
    {
        status = REGISTRY_DECLINED;
    }

    json_decref(root);

    return status;
}


registry_status_e
registry_media_type(registry_str_t in, char *buf, int *own)
{
    json_t             *root;
    const char         *reason;
    registry_str_t      type;
    registry_status_e   status;

    status = registry_json_load(in, JSON_ALLOW_NUL, &root, &reason);
    if (status != REGISTRY_OK) {
        return status;
    }

    type = registry_json_text(json_object_get(root, "mediaType"));
    *own = registry_media_type_valid(type);

    if (!*own) {
        type.data = registry_manifest_implied_type(root);
        type.len = strlen(type.data);
    }

    memcpy(buf, type.data, type.len);
    buf[type.len] = '\0';

    json_decref(root);

    return REGISTRY_OK;
}


static registry_status_e
registry_manifest_read(registry_manifest_t *m, registry_str_t content_type,
    const char **reason)
{
    json_t    *subject;
    uint64_t   size;

    if (json_integer_value(json_object_get(m->root, "schemaVersion")) == 1) {
        *reason = registry_manifest_schema1;
        return REGISTRY_INVALID;
    }

    *reason = registry_manifest_set_type(m, content_type);
    if (*reason != NULL) {
        return REGISTRY_INVALID;
    }

    *reason = registry_manifest_check_kind(m);
    if (*reason != NULL) {
        return REGISTRY_INVALID;
    }

    subject = registry_json_member(m->root, "subject");

    if (subject != NULL) {
        *reason = registry_descriptor_read(subject, &m->subject, &size);
        if (*reason != NULL) {
            return REGISTRY_INVALID;
        }

        m->has_subject = 1;
    }

    return registry_manifest_collect(m, reason);
}


static const char *
registry_manifest_set_type(registry_manifest_t *m,
    registry_str_t content_type)
{
    json_t          *json;
    const char      *implied;
    registry_str_t   type, given;

    given = registry_media_type_bare(content_type);
    json = registry_json_member(m->root, "mediaType");

    if (json != NULL && !json_is_string(json)) {
        return "\"mediaType\" is not a string";
    }

    type = registry_json_text(json);
    m->type_is_own = 1;

    if (type.len != 0 && given.len != 0 && !registry_str_same(type, given)) {
        return "\"mediaType\" is not the Content-Type of the request";
    }

    if (type.len == 0) {
        implied = registry_manifest_implied_type(m->root);

        if (!registry_manifest_has_image(m->root)
            && json_object_get(m->root, "manifests") == NULL)
        {
            implied = "";
        }

        type.data = implied;
        type.len = strlen(implied);

        if (given.len != 0) {
            m->type_is_own = registry_str_same(type, given) ? 1 : 0;
            type = given;
        }

        if (type.len == 0) {
            return "nothing says what kind of manifest it is";
        }
    }

    if (!registry_media_type_valid(type)) {
        return "the media type is malformed or too long";
    }

    memcpy(m->type, type.data, type.len);

    return NULL;
}


/* what one client takes for an image must not be an index for another */

static const char *
registry_manifest_check_kind(registry_manifest_t *m)
{
    int  image, list;

    if (strncasecmp(m->type, REGISTRY_TYPE_SCHEMA1,
                    sizeof(REGISTRY_TYPE_SCHEMA1) - 1)
        == 0)
    {
        return registry_manifest_schema1;
    }

    image = registry_manifest_has_image(m->root);
    list = json_object_get(m->root, "manifests") != NULL;

    if (image && list) {
        return "it has the members both of an image and of an index";
    }

    m->index = list || registry_type_is_index(m->type);

    if (image && m->index) {
        return "its media type is of an index, its members are of an image";
    }

    if (list && (strcasecmp(m->type, REGISTRY_TYPE_OCI_MANIFEST) == 0
                 || strcasecmp(m->type, REGISTRY_TYPE_DOCKER_MANIFEST) == 0))
    {
        return "its media type is of an image, its members are of an index";
    }

    return NULL;
}


static const char *
registry_manifest_implied_type(const json_t *root)
{
    return json_object_get(root, "manifests") != NULL
           ? REGISTRY_TYPE_OCI_INDEX : REGISTRY_TYPE_OCI_MANIFEST;
}


static int
registry_manifest_has_image(const json_t *root)
{
    return json_object_get(root, "config") != NULL
           || json_object_get(root, "layers") != NULL
           || json_object_get(root, "blobs") != NULL;
}


static int
registry_type_is_index(const char *type)
{
    return strcasecmp(type, REGISTRY_TYPE_OCI_INDEX) == 0
           || strcasecmp(type, REGISTRY_TYPE_DOCKER_LIST) == 0;
}


static registry_status_e
registry_manifest_collect(registry_manifest_t *m, const char **reason)
{
    size_t                             i, k, n;
    json_t                            *json, *array, *config;
    registry_descriptor_t             *d;
    const registry_manifest_member_t  *list;

    *reason = registry_manifest_count(m->root, &n);
    if (*reason != NULL) {
        return REGISTRY_INVALID;
    }

    if (n == 0) {
        return REGISTRY_OK;
    }

    m->descriptors = calloc(n, sizeof(registry_descriptor_t));
    if (m->descriptors == NULL) {
        return REGISTRY_NOMEM;
    }

    m->n = n;
    d = m->descriptors;
    config = registry_json_member(m->root, "config");

    if (config != NULL) {
        *reason = registry_descriptor_read(config, &d->digest, &d->size);
        if (*reason != NULL) {
            return REGISTRY_INVALID;
        }

        d++;
    }

    for (i = 0; i < REGISTRY_MANIFEST_LISTS; i++) {
        list = &registry_manifest_lists[i];
        array = json_object_get(m->root, list->name);

        json_array_foreach(array, k, json) {
            *reason = registry_descriptor_read(json, &d->digest, &d->size);
            if (*reason != NULL) {
                return REGISTRY_INVALID;
            }

            d->type = list->type;

            if (d->type == REGISTRY_DESCRIPTOR_BLOB
                && registry_descriptor_is_foreign(json))
            {
                d->type = REGISTRY_DESCRIPTOR_FOREIGN;
            }

            d++;
        }
    }

    return REGISTRY_OK;
}


static const char *
registry_manifest_count(const json_t *root, size_t *n)
{
    size_t   i;
    json_t  *json;

    *n = registry_json_member(root, "config") != NULL;

    for (i = 0; i < REGISTRY_MANIFEST_LISTS; i++) {
        json = registry_json_member(root, registry_manifest_lists[i].name);

        if (json != NULL && !json_is_array(json)) {
            return "a list of descriptors is not an array";
        }

        *n += json_array_size(json);
    }

    return NULL;
}


/* NULL, or what is wrong */

static const char *
registry_descriptor_read(const json_t *json, registry_digest_t *digest,
    uint64_t *size)
{
    json_t  *n;

    if (!json_is_object(json)) {
        return "a descriptor is not an object";
    }

    switch (registry_digest_parse(
                       registry_json_text(json_object_get(json, "digest")),
                       digest))
    {
    case REGISTRY_OK:
        break;

    case REGISTRY_UNSUPPORTED:
        return "a descriptor has a digest of an unsupported algorithm";

    default:
        return "a descriptor has no valid digest";
    }

    n = json_object_get(json, "size");

    if (!json_is_integer(n) || json_integer_value(n) < 0) {
        return "a descriptor has no valid size";
    }

    *size = (uint64_t) json_integer_value(n);

    return NULL;
}


static int
registry_descriptor_is_foreign(const json_t *json)
{
    registry_str_t               type;
    static const registry_str_t  foreign = registry_str(REGISTRY_TYPE_FOREIGN);

    if (json_array_size(json_object_get(json, "urls")) != 0) {
        return 1;
    }

    type = registry_json_text(json_object_get(json, "mediaType"));

    return registry_str_starts(type, REGISTRY_TYPE_NONDISTRIBUTABLE)
           || registry_str_same(type, foreign);
}


/* nothing else that an index may list has a manifest's bytes */

static int
registry_descriptor_is_image(const json_t *json)
{
    registry_str_t               type;
    static const registry_str_t  oci = registry_str(REGISTRY_TYPE_OCI_MANIFEST);
    static const registry_str_t  docker =
                                  registry_str(REGISTRY_TYPE_DOCKER_MANIFEST);

    type = registry_json_text(json_object_get(json, "mediaType"));

    return registry_str_same(type, oci) || registry_str_same(type, docker);
}


/* what is left of the text is what follows the slash; NULL: there was none */

static int
registry_platform_word(registry_str_t *text, int dots, registry_str_t *word)
{
    char    ch;
    size_t  n;

    for (n = 0; n < text->len && text->data[n] != '/'; n++) {
        ch = text->data[n];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')
              || (dots && ch == '.')))
        {
            return 0;
        }
    }

    word->data = text->data;
    word->len = n;

    if (n == text->len) {
        text->data = NULL;
        text->len = 0;

    } else {
        text->data += n + 1;
        text->len -= n + 1;
    }

    return word->len != 0;
}


static void
registry_platform_read(const json_t *json, registry_platform_t *platform)
{
    platform->os = registry_json_text(json_object_get(json, "os"));
    platform->architecture =
                   registry_json_text(json_object_get(json, "architecture"));
    platform->variant = registry_json_text(json_object_get(json, "variant"));
}


static registry_str_t
registry_platform_variant(const registry_platform_t *platform)
{
    size_t  i;

    for (i = 0; i < sizeof(registry_variants) / sizeof(registry_variant_t);
         i++)
    {
        if (platform->variant.len == 0
            && registry_str_same(platform->architecture,
                                 registry_variants[i].architecture))
        {
            return registry_variants[i].variant;
        }
    }

    return platform->variant;
}


/*
 * The annotations that are strings, as all must be: a client would give up
 * on the whole list of referrers for one that is not.
 */

static json_t *
registry_manifest_annotations(json_t *all)
{
    json_t      *annotations, *value;
    const char  *key;

    annotations = json_object();
    if (annotations == NULL) {
        return NULL;
    }

    json_object_foreach(all, key, value) {

        if (json_is_string(value)
            && json_object_set(annotations, key, value) != 0)
        {
            json_decref(annotations);
            return NULL;
        }
    }

    return annotations;
}


/* fit for a header: type/subtype without control characters, spaces, quotes */

static int
registry_media_type_valid(registry_str_t type)
{
    size_t  i, slash;

    if (type.len > REGISTRY_MEDIA_TYPE_MAX) {
        return 0;
    }

    slash = 0;

    for (i = 0; i < type.len; i++) {

        if (type.data[i] <= 0x20 || type.data[i] >= 0x7f
            || type.data[i] == '"' || type.data[i] == '\'')
        {
            return 0;
        }

        if (type.data[i] == '/' && slash == 0) {
            slash = i;
        }
    }

    return slash != 0 && slash + 1 != type.len;
}


/* without parameters and the white space around it */

static registry_str_t
registry_media_type_bare(registry_str_t content_type)
{
    size_t          n;
    registry_str_t  type;

    type = content_type;

    while (type.len && (type.data[0] == ' ' || type.data[0] == '\t')) {
        type.data++;
        type.len--;
    }

    for (n = 0; n < type.len && type.data[n] != ';'; n++) {
        /* void */
    }

    while (n && (type.data[n - 1] == ' ' || type.data[n - 1] == '\t')) {
        n--;
    }

    type.len = n;

    return type;
}


static int
registry_str_starts(registry_str_t s, const char *prefix)
{
    size_t  len;

    len = strlen(prefix);

    return s.len >= len && strncasecmp(s.data, prefix, len) == 0;
}


/* media types differ in more than case */

static int
registry_str_same(registry_str_t a, registry_str_t b)
{
    return a.len == b.len
           && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}
