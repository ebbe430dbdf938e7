
/*
 * Manifests: what is read of them, what is refused, and that a failed
 * allocation anywhere neither leaks nor passes for a good or bad manifest.
 */


#include "registry_json.h"
#include "registry_manifest.h"
#include "unit.h"


#define HEX32  "0123456789abcdef0123456789abcdef"
#define HEX64  HEX32 HEX32
#define D1  "sha256:" HEX64
#define D2  "sha512:" HEX64 HEX64

#define DESCRIPTOR(type, digest, size)                                        \
    "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"

#define CONFIG                                                                \
    DESCRIPTOR("application/vnd.oci.image.config.v1+json", D1, "7")
#define LAYER                                                                 \
    DESCRIPTOR("application/vnd.oci.image.layer.v1.tar+gzip", D2, "8")

#define TYPE(type)  "\"mediaType\":\"" type "\""

#define IMAGE                                                                 \
    "{\"schemaVersion\":2," TYPE(REGISTRY_TYPE_OCI_MANIFEST) ","              \
    "\"config\":" CONFIG ",\"layers\":[" LAYER "," LAYER "]}"

#define REFERRER                                                              \
    "{" TYPE(REGISTRY_TYPE_OCI_MANIFEST) ",\"schemaVersion\":2,"              \
    "\"config\":" CONFIG ",\"layers\":[],\"subject\":" LAYER ","              \
    "\"artifactType\":\"a/b\",\"annotations\":{\"k\":\"v\"}}"

#define SCHEMA1  "application/vnd.docker.distribution.manifest.v1+prettyjws"


static registry_manifest_t  *manifest;
static const char           *reason;


static registry_status_e
parse(const char *text, const char *content_type)
{
    registry_str_t     in, type;
    registry_status_e  status;

    manifest = NULL;
    reason = NULL;

    in = unit_text(text);
    type = unit_text(content_type);

    status = registry_manifest_parse(in, type, &manifest, &reason);

    unit_free(in);
    unit_free(type);

    return status;
}


static int
parse_ok(const char *text, const char *content_type, const char *name)
{
    registry_status_e  status;

    status = parse(text, content_type);

    if (!unit_ok(status == REGISTRY_OK, "%s", name)) {
        printf("# status %d: %s\n", (int) status, reason ? reason : "");
        return 0;
    }

    return 1;
}


static void
check_invalid(const char *text, const char *content_type, const char *why)
{
    registry_status_e  status;

    status = parse(text, content_type);

    if (!unit_ok(status == REGISTRY_INVALID && reason != NULL
                 && strstr(reason, why) != NULL, "%.50s: %s", text, why))
    {
        printf("# status %d: %s\n", (int) status, reason ? reason : "");
    }

    registry_manifest_free(manifest);
}


static void
check_type(const char *text, const char *content_type, const char *expected,
    int own, int index)
{
    if (!parse_ok(text, content_type, "a manifest to have a type")) {
        return;
    }

    unit_is(registry_manifest_type(manifest), expected, "its type");
    unit_is_number(registry_manifest_type_is_own(manifest), own,
                   "whether the bytes alone say it");
    unit_is_number(registry_manifest_is_index(manifest), index,
                   "whether it is an index");

    registry_manifest_free(manifest);
}


static void
check_types(void)
{
    const char  *image = REGISTRY_TYPE_OCI_MANIFEST;
    const char  *list = REGISTRY_TYPE_OCI_INDEX;

    check_type(IMAGE, "", image, 1, 0);
    check_type(IMAGE, image, image, 1, 0);
    check_type(IMAGE, " application/vnd.oci.image.manifest.v1+json ; a=b",
               image, 1, 0);
    check_type(IMAGE, "Application/vnd.oci.image.MANIFEST.v1+json", image, 1,
               0);
    check_type(IMAGE, " ;a=b", image, 1, 0);

    check_type("{\"layers\":[]}", "", image, 1, 0);
    check_type("{\"layers\":null}", "", image, 1, 0);
    check_type("{\"config\":" CONFIG "}", "", image, 1, 0);
    check_type("{\"blobs\":[]}", "", image, 1, 0);
    check_type("{\"manifests\":[]}", "", list, 1, 1);
    check_type("{\"manifests\":null}", "", list, 1, 1);
    check_type("{\"layers\":[],\"mediaType\":\"\"}", "", image, 1, 0);
    check_type("{\"layers\":[],\"mediaType\":null}", "", image, 1, 0);

    check_type("{\"layers\":[]}", image, image, 1, 0);
    check_type("{\"layers\":[]}", REGISTRY_TYPE_DOCKER_MANIFEST,
               REGISTRY_TYPE_DOCKER_MANIFEST, 0, 0);
    check_type("{\"manifests\":[]}", list, list, 1, 1);
    check_type("{\"manifests\":[]}", REGISTRY_TYPE_DOCKER_LIST,
               REGISTRY_TYPE_DOCKER_LIST, 0, 1);
    check_type("{\"layers\":[]}", "application/json", "application/json", 0,
               0);

    check_type("{}", "application/x", "application/x", 0, 0);
    check_type("{}", image, image, 0, 0);
    check_type("{}", list, list, 0, 1);
    check_type("{" TYPE("a/b") "}", "", "a/b", 1, 0);
    check_type("{" TYPE("a/b") ",\"manifests\":[]}", "", "a/b", 1, 1);
}


static void
check_kinds(void)
{
    check_invalid("{\"layers\":[],\"manifests\":[]}", "", "both");
    check_invalid("{\"config\":" CONFIG ",\"manifests\":[]}", "", "both");
    check_invalid("{\"blobs\":[],\"manifests\":[]}", "", "both");
    check_invalid("{\"layers\":null,\"manifests\":[]}", "", "both");
    check_invalid("{" TYPE(REGISTRY_TYPE_OCI_INDEX) ",\"layers\":[]}", "",
                  "media type is of an index");
    check_invalid("{\"layers\":[]}", REGISTRY_TYPE_DOCKER_LIST,
                  "media type is of an index");
    check_invalid("{\"manifests\":[]}", REGISTRY_TYPE_OCI_MANIFEST,
                  "media type is of an image");
    check_invalid("{" TYPE(REGISTRY_TYPE_DOCKER_MANIFEST)
                  ",\"manifests\":[]}", "", "media type is of an image");

    check_invalid("{\"schemaVersion\":1,\"layers\":[]}", "", "schema 1");
    check_invalid("{\"schemaVersion\":1,\"fsLayers\":[]}", "", "schema 1");
    check_invalid("{\"layers\":[]}", SCHEMA1, "schema 1");
    check_invalid("{" TYPE(SCHEMA1) "}", "", "schema 1");
    check_invalid("{" TYPE(SCHEMA1) "}", SCHEMA1, "schema 1");

    check_invalid(IMAGE, REGISTRY_TYPE_DOCKER_MANIFEST, "not the Content-T");
    check_invalid(IMAGE, "application/json", "not the Content-Type");
    check_invalid(IMAGE, "text/plain; charset=utf-8", "not the Content-Type");
    check_invalid(IMAGE, "nonsense", "not the Content-Type");

    check_invalid("{}", "", "what kind");
    check_invalid("{\"a\":1}", " ; a=b", "what kind");
    check_invalid("{\"mediaType\":7,\"layers\":[]}", "", "not a string");
    check_invalid("{" TYPE("a") "}", "", "malformed");
    check_invalid("{" TYPE("a/") "}", "", "malformed");
    check_invalid("{" TYPE("/a") "}", "", "malformed");
    check_invalid("{" TYPE("a/b c") "}", "", "malformed");
    check_invalid("{" TYPE("a/\\\"b") "}", "", "malformed");
    check_invalid("{" TYPE("a/b\\r\\nX: y") "}", "", "malformed");
    check_invalid("{" TYPE("a/b\\u007f") "}", "", "malformed");
    check_invalid("{" TYPE("a/\xc3\xa9") "}", "", "malformed");
    check_invalid("{}", "nonsense", "malformed");
    check_invalid("{\"layers\":[]}", "a/b\x01", "malformed");
}


static void
check_type_length(void)
{
    char  text[512], type[300];

    memset(type, 'a', sizeof(type));
    type[1] = '/';

    type[REGISTRY_MEDIA_TYPE_MAX] = '\0';
    sprintf(text, "{\"mediaType\":\"%s\"}", type);
    check_type(text, "", type, 1, 0);
    check_type("{}", type, type, 0, 0);

    type[REGISTRY_MEDIA_TYPE_MAX] = 'a';
    type[REGISTRY_MEDIA_TYPE_MAX + 1] = '\0';
    sprintf(text, "{\"mediaType\":\"%s\"}", type);
    check_invalid(text, "", "too long");
    check_invalid("{}", type, "too long");
}


static void
check_json(void)
{
    check_invalid("", "", "not an object");
    check_invalid("null", "", "not an object");
    check_invalid("7", "", "not an object");
    check_invalid("[]", "", "not an object");
    check_invalid("[" IMAGE "]", "", "not an object");
    check_invalid("{", "", "not valid JSON");
    check_invalid("}", "", "not valid JSON");
    check_invalid("]{", "", "not valid JSON");
    check_invalid("{]", "", "not valid JSON");
    check_invalid("{\"layers\":[}", "", "not valid JSON");
    check_invalid(IMAGE "x", "", "not valid JSON");
    check_invalid(IMAGE IMAGE, "", "not valid JSON");
    check_invalid("{'layers':[]}", "", "not valid JSON");
    check_invalid("{\"layers\":[],}", "", "not valid JSON");
    check_invalid("{\"a\":\"\xff\",\"layers\":[]}", "", "not valid JSON");
    check_invalid("{\"a\":\"\\ud800\",\"layers\":[]}", "", "not valid JSON");
    check_invalid("{\"a\":\"\\u0000\",\"layers\":[]}", "", "not valid JSON");
    check_invalid("\xef\xbb\xbf" IMAGE, "", "not valid JSON");
    check_invalid("{\"layers\":[],\"layers\":[]}", "", "twice");
    check_invalid("{\"layers\":[],\"lay\\u0065rs\":[]}", "", "twice");
    check_invalid("{\"layers\":[],\"a\":{\"b\":1,\"b\":1}}", "", "twice");
}


/* n times open, and as often close, inside a member or in a string of it */

static char *
nested(int n, const char *open, const char *inner, const char *close)
{
    int    i;
    char  *text, *p;

    text = __real_malloc((size_t) n * (strlen(open) + strlen(close))
                         + strlen(inner) + 64);
    if (text == NULL) {
        abort();
    }

    p = text + sprintf(text, "{\"layers\":[],\"a\":");

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s", open);
    }

    p += sprintf(p, "%s", inner);

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s", close);
    }

    sprintf(p, "}");

    return text;
}


static void
check_depth(void)
{
    char  *text;

    text = nested(REGISTRY_JSON_DEPTH - 1, "[", "", "]");

    if (parse_ok(text, "", "nested as deeply as allowed")) {
        registry_manifest_free(manifest);
    }

    free(text);

    text = nested(REGISTRY_JSON_DEPTH, "[", "", "]");
    check_invalid(text, "", "too deeply");
    free(text);

    text = nested(REGISTRY_JSON_DEPTH, "{\"a\":", "1", "}");
    check_invalid(text, "", "too deeply");
    free(text);

    text = nested(100000, "[", "", "]");
    check_invalid(text, "", "too deeply");
    free(text);

    /* brackets in strings do not count, also behind escaped quotes */

    text = nested(1, "\"[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                  "\\\\", "\"");

    if (parse_ok(text, "", "brackets in a string")) {
        registry_manifest_free(manifest);
    }

    free(text);

    /* nor does a quote that is escaped hide brackets */

    text = nested(1, "[\"\\\\\"", ",[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                  "]");
    check_invalid(text, "", "too deeply");
    free(text);

    text = nested(20000, "[],[],", "[]", "");
    text[16] = '[';
    check_invalid(text, "", "too many");
    free(text);
}


static void
check_size(void)
{
    char            *text;
    registry_str_t   in, type;

    text = __real_malloc(REGISTRY_MANIFEST_MAX + 2);
    if (text == NULL) {
        abort();
    }

    memset(text, ' ', REGISTRY_MANIFEST_MAX + 1);
    memcpy(text, IMAGE, sizeof(IMAGE) - 1);
    text[REGISTRY_MANIFEST_MAX] = '\0';

    if (parse_ok(text, "", "a manifest of 4 MiB")) {
        registry_manifest_free(manifest);
    }

    text[REGISTRY_MANIFEST_MAX] = ' ';
    text[REGISTRY_MANIFEST_MAX + 1] = '\0';
    check_invalid(text, "", "too large");

    free(text);

    in.data = NULL;
    in.len = 0;
    type = in;
    unit_ok(registry_manifest_parse(in, type, &manifest, &reason)
            == REGISTRY_INVALID, "no bytes at all");

    registry_manifest_free(NULL);
}


static void
check_descriptor(size_t i, registry_descriptor_e type, const char *digest,
    uint64_t size)
{
    size_t                        n;
    const registry_descriptor_t  *d;

    d = registry_manifest_descriptors(manifest, &n);

    if (!unit_ok(i < n && d[i].type == type && d[i].size == size
                 && strcmp(d[i].digest.text, digest) == 0,
                 "descriptor %d", (int) i)
        && i < n)
    {
        printf("# type %d, %s, %llu\n", (int) d[i].type, d[i].digest.text,
               (unsigned long long) d[i].size);
    }
}


static void
check_count(size_t expected)
{
    size_t  n;

    registry_manifest_descriptors(manifest, &n);
    unit_is_number((long long) n, (long long) expected, "descriptors");
}


static void
check_descriptors(void)
{
    if (parse_ok(IMAGE, "", "an image")) {
        check_count(3);
        check_descriptor(0, REGISTRY_DESCRIPTOR_BLOB, D1, 7);
        check_descriptor(1, REGISTRY_DESCRIPTOR_BLOB, D2, 8);
        check_descriptor(2, REGISTRY_DESCRIPTOR_BLOB, D2, 8);
        unit_ok(registry_manifest_subject(manifest) == NULL, "no subject");
        registry_manifest_free(manifest);
    }

    /* as buildkit's cache has it: layers in an index */

    if (parse_ok("{\"manifests\":[" LAYER "," CONFIG "]}", "", "an index")) {
        check_count(2);
        check_descriptor(0, REGISTRY_DESCRIPTOR_MANIFEST, D2, 8);
        check_descriptor(1, REGISTRY_DESCRIPTOR_MANIFEST, D1, 7);
        registry_manifest_free(manifest);
    }

    if (parse_ok("{\"blobs\":[" LAYER "],\"layers\":null,\"config\":null,"
                 "\"subject\":" CONFIG "}", "", "an artifact"))
    {
        check_count(1);
        check_descriptor(0, REGISTRY_DESCRIPTOR_BLOB, D2, 8);
        unit_ok(registry_manifest_subject(manifest) != NULL
                && strcmp(registry_manifest_subject(manifest)->text, D1) == 0,
                "its subject is no descriptor of its own");
        registry_manifest_free(manifest);
    }

    if (parse_ok("{\"layers\":[],\"subject\":null}", "", "nothing")) {
        check_count(0);
        unit_ok(registry_manifest_subject(manifest) == NULL,
                "null is no subject");
        registry_manifest_free(manifest);
    }

    if (parse_ok("{\"layers\":[{\"digest\":\"" D1 "\",\"size\":"
                 "9223372036854775807}]}", "", "a bare descriptor"))
    {
        check_descriptor(0, REGISTRY_DESCRIPTOR_BLOB, D1, INT64_MAX);
        registry_manifest_free(manifest);
    }
}


#define FOREIGN(member)                                                       \
    "{\"digest\":\"" D1 "\",\"size\":1," member "}"

static void
check_foreign(void)
{
    size_t                    i;
    static const char *const  foreign[] = {
        FOREIGN(TYPE("application/vnd.oci.image.layer.nondistributable.v1"
                     ".tar")),
        FOREIGN(TYPE("application/vnd.oci.image.layer.nondistributable.v1"
                     ".tar+zstd")),
        FOREIGN(TYPE("application/vnd.docker.image.rootfs.foreign.diff.tar"
                     ".gzip")),
        FOREIGN("\"urls\":[\"https://example.com/\"]")
    };
    static const char *const  ours[] = {
        FOREIGN(TYPE("application/vnd.docker.image.rootfs.diff.tar.gzip")),
        FOREIGN(TYPE("application/vnd.oci.image.layer.v1.tar")),
        FOREIGN("\"urls\":[]"),
        FOREIGN("\"urls\":null"),
        FOREIGN("\"mediaType\":7")
    };
    char                      text[512];

    for (i = 0; i < unit_count(foreign); i++) {
        sprintf(text, "{\"layers\":[%s]}", foreign[i]);

        if (parse_ok(text, "", "a foreign layer")) {
            check_descriptor(0, REGISTRY_DESCRIPTOR_FOREIGN, D1, 1);
            registry_manifest_free(manifest);
        }

        sprintf(text, "{\"manifests\":[%s]}", foreign[i]);

        if (parse_ok(text, "", "the same in an index")) {
            check_descriptor(0, REGISTRY_DESCRIPTOR_MANIFEST, D1, 1);
            registry_manifest_free(manifest);
        }

        sprintf(text, "{\"config\":%s}", foreign[i]);

        if (parse_ok(text, "", "the same as config")) {
            check_descriptor(0, REGISTRY_DESCRIPTOR_BLOB, D1, 1);
            registry_manifest_free(manifest);
        }
    }

    for (i = 0; i < unit_count(ours); i++) {
        sprintf(text, "{\"layers\":[%s]}", ours[i]);

        if (parse_ok(text, "", "a layer that must be here")) {
            check_descriptor(0, REGISTRY_DESCRIPTOR_BLOB, D1, 1);
            registry_manifest_free(manifest);
        }
    }
}


#define ENTRY(type, platform)                                                 \
    "{" TYPE(type) ",\"digest\":\"" D1 "\",\"size\":1" platform "}"

#define PLATFORM(os, architecture, rest)                                      \
    ENTRY(REGISTRY_TYPE_OCI_MANIFEST, ",\"platform\":{\"os\":\"" os "\","      \
          "\"architecture\":\"" architecture "\"" rest "}")

#define VARIANT(os, architecture, variant)                                    \
    PLATFORM(os, architecture, ",\"variant\":\"" variant "\"")


/* NULL: it is none */

static void
check_platform(const char *text, const char *expected)
{
    char                 got[128];
    registry_str_t       in;
    registry_status_e    status;
    registry_platform_t  platform;

    in = unit_text(text);
    status = registry_platform_parse(in, &platform);

    if (expected == NULL) {
        unit_ok(status == REGISTRY_INVALID, "\"%s\" is no platform", text);

    } else if (unit_ok(status == REGISTRY_OK, "platform %s", text)) {
        sprintf(got, "%.*s %.*s %.*s", (int) platform.os.len,
                platform.os.data, (int) platform.architecture.len,
                platform.architecture.data, (int) platform.variant.len,
                platform.variant.len ? platform.variant.data : "");
        unit_is(got, expected, "its parts");
    }

    unit_free(in);
}


static void
check_platforms(void)
{
    size_t                    i;
    static const char *const  bad[] = {
        "", "/", "//", "linux", "linux/", "/amd64", "linux//v8", "all",
        "linux/arm64/", "linux/arm64/v8/", "linux/arm64/v8/x", "Linux/amd64",
        "linux/AMD64", "linux/x86_64", "linux/amd64 ", " linux/amd64",
        "linux/*", "linux.1/amd64", "linux/a.b", "linux/arm64/V8",
        "unknown/unknown", "linux/unknown", "unknown/amd64", "li\tnux/amd64"
    };

    check_platform("linux/amd64", "linux amd64 ");
    check_platform("linux/arm64/v8", "linux arm64 v8");
    check_platform("linux/arm64/v9.5", "linux arm64 v9.5");
    check_platform("linux/386", "linux 386 ");
    check_platform("a/b/c", "a b c");

    for (i = 0; i < unit_count(bad); i++) {
        check_platform(bad[i], NULL);
    }
}


/* "yes" has a "1" for each entry that is for one of the platforms */

static void
check_for(const char *platforms, const char *yes)
{
    char                  got[32];
    size_t                i, n;
    registry_str_t        in[8];
    registry_platform_t   wanted[8];
    static const char     text[] =
        "{\"manifests\":["
        PLATFORM("linux", "amd64", "") ","
        PLATFORM("linux", "arm64", "") ","
        VARIANT("linux", "arm64", "v8") ","
        VARIANT("linux", "arm64", "v9") ","
        VARIANT("linux", "arm", "v6") ","
        PLATFORM("linux", "arm", "") ","
        PLATFORM("windows", "amd64", ",\"os.version\":\"10\"") ","
        VARIANT("Linux", "AMD64", "") ","
        VARIANT("linux", "amd64", "v3") ","
        PLATFORM("unknown", "unknown", "") ","
        ENTRY(REGISTRY_TYPE_DOCKER_MANIFEST, ",\"platform\":{}") ","
        ENTRY(REGISTRY_TYPE_DOCKER_MANIFEST, ",\"platform\":7") ","
        ENTRY(REGISTRY_TYPE_OCI_MANIFEST, "") ","
        ENTRY(REGISTRY_TYPE_OCI_INDEX, ",\"platform\":"
              "{\"os\":\"linux\",\"architecture\":\"amd64\"}") ","
        ENTRY("application/vnd.oci.image.layer.v1.tar+gzip", "") ","
        PLATFORM("linux", "amd64", ",\"variant\":7") ","
        "{\"digest\":\"" D1 "\",\"size\":1}"
        "]}";

    n = 0;

    while (*platforms != '\0') {
        i = strcspn(platforms, " ");
        sprintf(got, "%.*s", (int) i, platforms);
        platforms += i + (platforms[i] == ' ');

        in[n] = unit_text(got);
        unit_ok(registry_platform_parse(in[n], &wanted[n]) == REGISTRY_OK,
                "%s", got);
        n++;
    }

    if (!parse_ok(text, "", "an index of many platforms")) {
        return;
    }

    (void) registry_manifest_descriptors(manifest, &i);
    got[i] = '\0';

    while (i) {
        i--;
        got[i] = registry_manifest_is_for(manifest, i, wanted, n) ? '1' : '0';
    }

    unit_is(got, yes, "what is for which platform");

    registry_manifest_free(manifest);

    while (n) {
        unit_free(in[--n]);
    }
}


static void
check_platforms_of(void)
{
    check_for("linux/amd64", "10000001100000010");
    check_for("linux/arm64", "01110000000000000");
    check_for("linux/arm64/v8", "01100000000000000");
    check_for("linux/arm64/v9", "00010000000000000");
    check_for("linux/arm", "00001100000000000");
    check_for("linux/arm/v7", "00000100000000000");
    check_for("linux/arm/v6", "00001000000000000");
    check_for("linux/amd64/v1", "10000001000000010");
    check_for("windows/amd64", "00000010000000000");
    check_for("windows/amd64 linux/arm/v6 linux/s390x", "00001010000000000");
    check_for("linux/s390x", "00000000000000000");
    check_for("", "11111111101110010");

    /* an image has no such entries, nor is there one beyond the last */

    if (parse_ok(IMAGE, "", "an image")) {
        unit_is_number(registry_manifest_is_for(manifest, 0, NULL, 0), 0,
                       "of an image");
        registry_manifest_free(manifest);
    }

    if (parse_ok("{\"manifests\":[]}", "", "an empty index")) {
        unit_is_number(registry_manifest_is_for(manifest, 0, NULL, 0), 0,
                       "beyond the end");
        registry_manifest_free(manifest);
    }
}


static void
check_bad_descriptors(void)
{
    size_t                    i, k;
    char                      text[512];
    static const char *const  bad[][2] = {
        { "7", "not an object" },
        { "[]", "not an object" },
        { "\"" D1 "\"", "not an object" },
        { "{}", "no valid digest" },
        { "{\"size\":1}", "no valid digest" },
        { "{\"digest\":7,\"size\":1}", "no valid digest" },
        { "{\"digest\":\"sha256:0\",\"size\":1}", "no valid digest" },
        { "{\"digest\":\"../x\",\"size\":1}", "no valid digest" },
        { "{\"digest\":\"sha384:" HEX64 "\",\"size\":1}", "unsupported" },
        { "{\"digest\":\"" D1 "\"}", "no valid size" },
        { "{\"digest\":\"" D1 "\",\"size\":-1}", "no valid size" },
        { "{\"digest\":\"" D1 "\",\"size\":1.5}", "no valid size" },
        { "{\"digest\":\"" D1 "\",\"size\":\"1\"}", "no valid size" },
        { "{\"digest\":\"" D1 "\",\"size\":null}", "no valid size" },
        { "{\"digest\":\"" D1 "\",\"size\":9223372036854775808}",
          "not valid JSON" }
    };
    static const char *const  places[] = {
        "{\"config\":%s}", "{\"layers\":[%s]}", "{\"blobs\":[%s]}",
        "{\"manifests\":[" CONFIG ",%s]}",
        "{\"layers\":[],\"subject\":%s}"
    };

    for (i = 0; i < unit_count(bad); i++) {
        for (k = 0; k < unit_count(places); k++) {
            sprintf(text, places[k], bad[i][0]);
            check_invalid(text, "", bad[i][1]);
        }
    }

    check_invalid("{\"layers\":[null]}", "", "not an object");
    check_invalid("{\"layers\":{}}", "", "not an array");
    check_invalid("{\"layers\":7}", "", "not an array");
    check_invalid("{\"manifests\":\"\"}", "", "not an array");
    check_invalid("{\"blobs\":{}}", "", "not an array");
}


static void
check_referrer(const char *text, const char *expected, const char *name)
{
    char               *got;
    size_t              len;
    registry_str_t      s;
    registry_digest_t   digest;

    if (!parse_ok(text, "", name)) {
        return;
    }

    s = unit_text(D1);
    registry_digest_parse(s, &digest);
    unit_free(s);

    got = registry_manifest_descriptor(manifest, &digest, 1234, &len);

    if (unit_is(got, expected, "its descriptor for referrers")) {
        unit_is_number((long long) len, (long long) strlen(expected),
                       "the length of that");
    }

    free(got);
    registry_manifest_free(manifest);
}


#define HEAD(type)                                                            \
    "{" TYPE(type) ",\"digest\":\"" D1 "\",\"size\":1234"

static void
check_referrers(void)
{
    check_referrer(REFERRER,
                   HEAD(REGISTRY_TYPE_OCI_MANIFEST)
                   ",\"artifactType\":\"a/b\",\"annotations\":{\"k\":\"v\"}}",
                   "a referrer with everything");

    check_referrer(IMAGE,
                   HEAD(REGISTRY_TYPE_OCI_MANIFEST) ",\"artifactType\":"
                   "\"application/vnd.oci.image.config.v1+json\"}",
                   "an image: the config's type stands in");

    check_referrer("{\"config\":" CONFIG ",\"artifactType\":\"\"}",
                   HEAD(REGISTRY_TYPE_OCI_MANIFEST) ",\"artifactType\":"
                   "\"application/vnd.oci.image.config.v1+json\"}",
                   "also if artifactType is empty");

    check_referrer("{\"config\":" CONFIG ",\"artifactType\":7}",
                   HEAD(REGISTRY_TYPE_OCI_MANIFEST) ",\"artifactType\":"
                   "\"application/vnd.oci.image.config.v1+json\"}",
                   "or no string");

    check_referrer("{\"manifests\":[]}", HEAD(REGISTRY_TYPE_OCI_INDEX) "}",
                   "an index without artifactType");

    check_referrer("{\"manifests\":[],\"artifactType\":\"a/b\"}",
                   HEAD(REGISTRY_TYPE_OCI_INDEX)
                   ",\"artifactType\":\"a/b\"}",
                   "an index with one");

    check_referrer("{\"layers\":[],\"annotations\":[\"a\"]}",
                   HEAD(REGISTRY_TYPE_OCI_MANIFEST) "}",
                   "annotations that are no object");

    check_referrer("{\"layers\":[],\"annotations\":{}}",
                   HEAD(REGISTRY_TYPE_OCI_MANIFEST) ",\"annotations\":{}}",
                   "annotations that are empty");

    check_referrer("{\"layers\":[],\"annotations\":{\"b\":\"1\\u0022\","
                   "\"n\":7,\"o\":{},\"a\":\"\xc3\xa9\"}}",
                   HEAD(REGISTRY_TYPE_OCI_MANIFEST) ",\"annotations\":"
                   "{\"b\":\"1\\\"\",\"a\":\"\xc3\xa9\"}}",
                   "annotations that are no strings");
}


static void
check_has_type(const char *text, const char *type, registry_status_e expected)
{
    registry_str_t  in, s;

    in = unit_text(text);
    s = unit_text(type);

    unit_is_number((long long) registry_descriptor_has_type(in, s),
                   (long long) expected, "whether a descriptor has a type");

    unit_free(in);
    unit_free(s);
}


static void
check_has_types(void)
{
    check_has_type("{\"artifactType\":\"a/b\"}", "a/b", REGISTRY_OK);
    check_has_type("{\"artifactType\":\"a/b\"}", "a/c", REGISTRY_DECLINED);
    check_has_type("{\"artifactType\":\"a/b\"}", "a/B", REGISTRY_DECLINED);
    check_has_type("{\"artifactType\":\"a/b\"}", "a/", REGISTRY_DECLINED);
    check_has_type("{\"artifactType\":\"a/b\"}", "", REGISTRY_DECLINED);
    check_has_type("{\"artifactType\":7}", "7", REGISTRY_DECLINED);
    check_has_type("{}", "", REGISTRY_DECLINED);
    check_has_type("{}", "a/b", REGISTRY_DECLINED);
    check_has_type("{\"mediaType\":\"a/b\"}", "a/b", REGISTRY_DECLINED);
    check_has_type("[]", "a/b", REGISTRY_INVALID);
    check_has_type("", "a/b", REGISTRY_INVALID);
    check_has_type("{\"artifactType\":\"a/b\"", "a/b", REGISTRY_INVALID);
}


static void
check_media_type(const char *text, const char *expected, int own)
{
    int                said;
    char               buf[REGISTRY_MEDIA_TYPE_MAX + 1];
    registry_str_t     in;
    registry_status_e  status;

    in = unit_text(text);
    status = registry_media_type(in, buf, &said);
    unit_free(in);

    if (expected == NULL) {
        unit_is_number((long long) status, REGISTRY_INVALID, "no object");
        return;
    }

    unit_is_number((long long) status, REGISTRY_OK, "stored bytes");

    if (status == REGISTRY_OK) {
        unit_is(buf, expected, "their media type");
        unit_is_number(said, own, "whether it stands there");
    }
}


static void
check_media_types(void)
{
    char    text[512];
    size_t  i;

    check_media_type(IMAGE, REGISTRY_TYPE_OCI_MANIFEST, 1);
    check_media_type("{" TYPE("a/b") ",\"manifests\":[]}", "a/b", 1);
    check_media_type("{\"manifests\":[]}", REGISTRY_TYPE_OCI_INDEX, 0);
    check_media_type("{\"layers\":7}", REGISTRY_TYPE_OCI_MANIFEST, 0);
    check_media_type("{}", REGISTRY_TYPE_OCI_MANIFEST, 0);
    check_media_type("{\"a\":\"\\u0000\"}", REGISTRY_TYPE_OCI_MANIFEST, 0);
    check_media_type("{\"a\":1,\"a\":2}", REGISTRY_TYPE_OCI_MANIFEST, 0);

    /* nothing that would break a header */

    check_media_type("{" TYPE("a/b\\r\\nX: y") "}",
                     REGISTRY_TYPE_OCI_MANIFEST, 0);
    check_media_type("{" TYPE("a/b\\u0000") "}", REGISTRY_TYPE_OCI_MANIFEST,
                     0);
    check_media_type("{\"mediaType\":7}", REGISTRY_TYPE_OCI_MANIFEST, 0);
    check_media_type("{" TYPE("") "}", REGISTRY_TYPE_OCI_MANIFEST, 0);

    i = (size_t) sprintf(text, "{\"mediaType\":\"a/");
    memset(text + i, 'b', 254);
    sprintf(text + i + 254, "\"}");
    check_media_type(text, REGISTRY_TYPE_OCI_MANIFEST, 0);

    check_media_type("", NULL, 0);
    check_media_type("[]", NULL, 0);
    check_media_type("{", NULL, 0);
}


/*
 * Allocations failed one by one.  The first long strings of REFERRER are
 * checked ones, since jansson may lose a byte of a string when its buffer
 * cannot grow: then the manifest is invalid, never another one.  For a string
 * that it has no memory for, jansson reports a syntax error; all else must be
 * told for what it is.
 */

static void
check_memory_parse(void)
{
    long               n, wrong, mistaken;
    registry_status_e  status;

    wrong = 0;
    mistaken = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = parse(REFERRER, REGISTRY_TYPE_OCI_MANIFEST);

        if (unit_allocations < n) {
            break;
        }

        if (status == REGISTRY_NOMEM && manifest == NULL) {
            continue;
        }

        if (unit_failed_json && status == REGISTRY_INVALID) {
            mistaken++;

        } else {
            printf("# allocation %ld: status %d\n", n, (int) status);
            wrong++;
        }

        registry_manifest_free(manifest);
    }

    unit_fail_at(0);
    unit_ok(n > 10 && n < 1000 && status == REGISTRY_OK,
            "each of %ld allocations of a parser failed", n - 1);
    unit_ok(wrong == 0, "and every time it was noticed");
    unit_ok(mistaken < n / 2, "%ld times as an error of syntax", mistaken);

    registry_manifest_free(manifest);
}


static void
check_memory_descriptor(void)
{
    long                n, wrong;
    char               *text;
    size_t              len;
    registry_digest_t   digest;

    if (!parse_ok(REFERRER, "", "a manifest before memory runs out")) {
        return;
    }

    registry_hash_bytes(REGISTRY_SHA256, "", 0, &digest);

    text = NULL;
    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        text = registry_manifest_descriptor(manifest, &digest, 1, &len);

        if (unit_allocations < n) {
            break;
        }

        wrong += text != NULL;
        free(text);
    }

    unit_fail_at(0);
    unit_ok(n > 10 && n < 1000 && text != NULL,
            "each of %ld allocations of a descriptor failed", n - 1);
    unit_ok(wrong == 0, "and every time there was none");

    free(text);
    registry_manifest_free(manifest);
}


static void
check_memory_types(void)
{
    int                own;
    long               n, wrong;
    char               buf[REGISTRY_MEDIA_TYPE_MAX + 1];
    registry_str_t     in, type;
    registry_status_e  status;

    in = unit_text("{" TYPE("a/b") ",\"artifactType\":\"c/d\"}");
    type = unit_text("c/d");
    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_descriptor_has_type(in, type);

        if (unit_allocations < n) {
            break;
        }

        wrong += status != REGISTRY_NOMEM
                 && !(unit_failed_json && status == REGISTRY_INVALID);
    }

    unit_fail_at(0);
    unit_ok(n > 5 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed while a type is compared", n - 1);

    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_media_type(in, buf, &own);

        if (unit_allocations < n) {
            break;
        }

        wrong += status != REGISTRY_NOMEM
                 && !(unit_failed_json && status == REGISTRY_INVALID);
    }

    unit_fail_at(0);
    unit_ok(n > 5 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed while a type is read", n - 1);

    unit_free(in);
    unit_free(type);
}


int
main(void)
{
    unit_wrap_json();

    check_types();
    check_kinds();
    check_type_length();
    check_json();
    check_depth();
    check_size();
    check_descriptors();
    check_foreign();
    check_platforms();
    check_platforms_of();
    check_bad_descriptors();
    check_referrers();
    check_has_types();
    check_media_types();
    check_memory_parse();
    check_memory_descriptor();
    check_memory_types();

    return unit_done();
}
