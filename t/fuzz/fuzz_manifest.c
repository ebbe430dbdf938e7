
/*
 * Manifests and descriptors.  The first line of the input is a Content-Type,
 * which is tried as a platform too, the rest a manifest.
 */


#include <jansson.h>
#include <strings.h>

#include "fuzz.h"
#include "registry_json.h"
#include "registry_manifest.h"


static void
check_type(const char *type)
{
    size_t  i;

    fuzz_check(strlen(type) <= REGISTRY_MEDIA_TYPE_MAX);
    fuzz_check(strchr(type, '/') != NULL);

    for (i = 0; type[i] != '\0'; i++) {
        fuzz_check(type[i] > 0x20 && type[i] < 0x7f && type[i] != '"');
    }
}


static int
too_deep(registry_str_t in)
{
    int     deepest, depth, string;
    size_t  i;

    deepest = 0;
    depth = 0;
    string = 0;

    for (i = 0; i < in.len; i++) {

        if (string) {
            string = in.data[i] != '"';
            i += in.data[i] == '\\';
            continue;
        }

        string = in.data[i] == '"';
        depth += in.data[i] == '{' || in.data[i] == '[';
        depth -= in.data[i] == '}' || in.data[i] == ']';
        deepest = depth > deepest ? depth : deepest;
    }

    return deepest > REGISTRY_JSON_DEPTH;
}


static void
check_descriptors(const registry_manifest_t *manifest)
{
    size_t                        i, n;
    registry_digest_t             digest;
    const registry_descriptor_t  *d;

    d = registry_manifest_descriptors(manifest, &n);

    for (i = 0; i < n; i++) {
        fuzz_check(registry_digest_parse(fuzz_text(d[i].digest.text),
                                         &digest)
                   == REGISTRY_OK);
        fuzz_check(registry_digest_equal(&digest, &d[i].digest));
        fuzz_check(d[i].size <= INT64_MAX);
        fuzz_check((d[i].type == REGISTRY_DESCRIPTOR_MANIFEST)
                   == registry_manifest_is_index(manifest));
    }

    if (registry_manifest_subject(manifest) != NULL) {
        fuzz_check(registry_digest_parse(
                      fuzz_text(registry_manifest_subject(manifest)->text),
                      &digest)
                   == REGISTRY_OK);
    }
}


/*
 * Which entries are for a platform: the Content-Type is its text, too, so
 * that any can come.
 */

static void
check_platforms(const registry_manifest_t *manifest, registry_str_t text)
{
    int                           any;
    size_t                        i, n;
    registry_platform_t           platform[2];
    const registry_descriptor_t  *d;
    static const registry_str_t   arm64 = registry_str("linux/arm64/v8");

    fuzz_check(registry_platform_parse(arm64, &platform[0]) == REGISTRY_OK);
    any = registry_platform_parse(text, &platform[1]) == REGISTRY_OK;

    if (any) {
        fuzz_check(fuzz_inside(platform[1].os, text));
        fuzz_check(fuzz_inside(platform[1].architecture, text));
        fuzz_check(platform[1].os.len + platform[1].architecture.len
                   + platform[1].variant.len < text.len);
    }

    d = registry_manifest_descriptors(manifest, &n);

    for (i = 0; i <= n; i++) {

        /* what is for one is for two, and for all */

        if (registry_manifest_is_for(manifest, i, platform, 1)) {
            fuzz_check(i < n && d[i].type == REGISTRY_DESCRIPTOR_MANIFEST);
            fuzz_check(registry_manifest_is_for(manifest, i, platform,
                                                1 + any));
            fuzz_check(registry_manifest_is_for(manifest, i, NULL, 0));
        }

        if (registry_manifest_is_for(manifest, i, NULL, 0)) {
            fuzz_check(i < n && registry_manifest_is_index(manifest));
        }
    }
}


/* what goes into a list of referrers */

static void
check_referrer(const registry_manifest_t *manifest, registry_str_t in)
{
    char               *text;
    size_t              len;
    json_t             *root, *type;
    const char         *key;
    registry_str_t      descriptor;
    registry_digest_t   digest;

    registry_hash_bytes(REGISTRY_SHA256, in.data, in.len, &digest);

    text = registry_manifest_descriptor(manifest, &digest, in.len, &len);
    fuzz_check(text != NULL && strlen(text) == len);

    descriptor = fuzz_str(text, len);
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

    fuzz_check(json_is_object(root));
    fuzz_check(strcmp(json_string_value(json_object_get(root, "mediaType")),
                      registry_manifest_type(manifest)) == 0);
    fuzz_check(strcmp(json_string_value(json_object_get(root, "digest")),
                      digest.text) == 0);
    fuzz_check(json_integer_value(json_object_get(root, "size"))
               == (json_int_t) in.len);

    json_object_foreach(json_object_get(root, "annotations"), key, type) {
        fuzz_check(json_is_string(type));
    }

    type = json_object_get(root, "artifactType");

    if (type != NULL) {
        fuzz_check(registry_descriptor_has_type(descriptor,
                                         fuzz_text(json_string_value(type)))
                   == REGISTRY_OK);
    }

    fuzz_check(registry_descriptor_has_type(descriptor, fuzz_text(""))
               == REGISTRY_DECLINED);
    fuzz_check(registry_descriptor_has_type(descriptor, fuzz_text("-"))
               == (json_string_length(type) == 1
                   && json_string_value(type)[0] == '-'
                   ? REGISTRY_OK : REGISTRY_DECLINED));

    json_decref(root);
    free(text);
}


/* the same bytes without a Content-Type, and as they are read from a store */

static void
check_own(const registry_manifest_t *manifest, registry_str_t in)
{
    int                   own, same;
    char                  buf[REGISTRY_MEDIA_TYPE_MAX + 1];
    const char           *reason;
    registry_status_e     status;
    registry_manifest_t  *alone;

    status = registry_manifest_parse(in, fuzz_text(""), &alone, &reason);
    same = 0;

    if (status == REGISTRY_OK) {
        same = strcasecmp(registry_manifest_type(alone),
                          registry_manifest_type(manifest)) == 0;
        registry_manifest_free(alone);
    }

    fuzz_check(registry_manifest_type_is_own(manifest) == same);

    fuzz_check(registry_media_type(in, buf, &own) == REGISTRY_OK);

    if (registry_manifest_type_is_own(manifest)) {
        fuzz_check(strcasecmp(buf, registry_manifest_type(manifest)) == 0);

    } else {
        fuzz_check(!own);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                   own;
    char                  buf[REGISTRY_MEDIA_TYPE_MAX + 1];
    const char           *reason;
    registry_str_t        in, type;
    registry_status_e     status;
    registry_manifest_t  *manifest;

    in = fuzz_str(data, size);
    type = fuzz_line(&in);

    status = registry_descriptor_has_type(in, type);
    fuzz_check(status != REGISTRY_UNSUPPORTED && status != REGISTRY_NOMEM);

    if (registry_media_type(in, buf, &own) == REGISTRY_OK) {
        check_type(buf);
        fuzz_check(!too_deep(in));
    }

    reason = NULL;
    status = registry_manifest_parse(in, type, &manifest, &reason);

    if (status != REGISTRY_OK) {
        fuzz_check(status == REGISTRY_INVALID && reason != NULL);
        return 0;
    }

    fuzz_check(!too_deep(in));
    check_type(registry_manifest_type(manifest));
    check_descriptors(manifest);
    check_platforms(manifest, type);
    check_referrer(manifest, in);
    check_own(manifest, in);

    registry_manifest_free(manifest);

    return 0;
}
