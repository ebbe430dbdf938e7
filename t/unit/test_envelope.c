
/*
 * Values of a shared cache: what is believed of them, and that nothing else
 * is, whichever byte is wrong.
 */


#include <openssl/crypto.h>

#include "registry_envelope.h"
#include "registry_manifest.h"
#include "unit.h"


#define NOW     1764000000
#define SECRET  "0123456789abcdef"
#define KEY     "t\0library/alpine\0latest"

#define EMPTY256                                                              \
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* by the openssl program */

#define LINE                                                                  \
    "registry-tag 1 1764000000 " EMPTY256 " "                                 \
    "bdd7bf7caa3a69f151b421e8356058219fc4b59d3566f25c6880a2c575ebc764\n"

#define IMAGE                                                                 \
    "{\"schemaVersion\":2,\"mediaType\":\"" REGISTRY_TYPE_DOCKER_MANIFEST     \
    "\",\"layers\":[]}"

#define SHORT  "{\"mediaType\":\"a/b\"}"


static registry_str_t     secret, key;
static registry_digest_t  digest;
static char               value[REGISTRY_MANIFEST_MAX + 1024];


/* of value[] */

static registry_status_e
encode_manifest(const char *bytes, const char *media_type, size_t *len)
{
    registry_str_t     in, type;
    registry_status_e  status;

    in = unit_text(bytes);
    type = unit_text(media_type);

    status = registry_envelope_manifest_encode(in, type, value);

    memcpy(value + REGISTRY_ENVELOPE_MANIFEST_LEN, in.data, in.len);
    *len = REGISTRY_ENVELOPE_MANIFEST_LEN + in.len;

    registry_hash_bytes(REGISTRY_SHA256, in.data, in.len, &digest);

    unit_free(in);
    unit_free(type);

    return status;
}


static registry_status_e
decode_manifest(const char *data, size_t len, const char *expected,
    const char *expected_type)
{
    char               type[REGISTRY_MEDIA_TYPE_MAX + 1];
    registry_str_t     in, bytes;
    registry_status_e  status;

    in = unit_bytes(data, len);

    status = registry_envelope_manifest_decode(in, &digest, &bytes, type);

    if (status == REGISTRY_OK
        && (bytes.len != strlen(expected)
            || memcmp(bytes.data, expected, bytes.len) != 0
            || strcmp(type, expected_type) != 0))
    {
        printf("# decoded: %.*s of type %s\n", (int) bytes.len, bytes.data,
               type);
        status = REGISTRY_UNSUPPORTED;
    }

    unit_free(in);

    return status;
}


static void
check_manifest(const char *bytes, const char *type, const char *name)
{
    size_t  i, len, wrong;

    unit_ok(encode_manifest(bytes, type, &len) == REGISTRY_OK, "%s", name);
    unit_ok(decode_manifest(value, len, bytes, type) == REGISTRY_OK,
            "is what it was");

    wrong = 0;

    for (i = 0; i < len; i++) {
        value[i] ^= 1;
        wrong += decode_manifest(value, len, bytes, type) != REGISTRY_INVALID;
        value[i] ^= 1;

        wrong += decode_manifest(value, i, bytes, type) != REGISTRY_INVALID;
    }

    unit_ok(wrong == 0, "and is not believed with a wrong byte, or cut short");
    unit_ok(decode_manifest(value, len + 1, bytes, type) == REGISTRY_INVALID,
            "nor with one more");

    registry_hash_bytes(REGISTRY_SHA256, "x", 1, &digest);
    unit_ok(decode_manifest(value, len, bytes, type) == REGISTRY_INVALID,
            "nor as another one");
}


static void
check_manifests(void)
{
    size_t  len;

    check_manifest(IMAGE, REGISTRY_TYPE_DOCKER_MANIFEST, "an image");
    check_manifest("{\"schemaVersion\":2,\"manifests\":[]}",
                   REGISTRY_TYPE_OCI_INDEX,
                   "an index that does not name its type");

    (void) encode_manifest(IMAGE, REGISTRY_TYPE_DOCKER_MANIFEST, &len);
    registry_hash_bytes(REGISTRY_SHA512, IMAGE, strlen(IMAGE), &digest);
    unit_ok(decode_manifest(value, len, IMAGE, REGISTRY_TYPE_DOCKER_MANIFEST)
            == REGISTRY_OK, "sha512 will do as well");
}


static void
check_bad_manifests(void)
{
    char            *text;
    size_t           len;
    registry_str_t   in, type;

    unit_ok(encode_manifest(IMAGE, REGISTRY_TYPE_OCI_MANIFEST, &len)
            == REGISTRY_UNSUPPORTED,
            "a type that the bytes do not have is not kept");
    unit_ok(encode_manifest(IMAGE, "", &len) == REGISTRY_UNSUPPORTED,
            "nor is none");
    unit_ok(encode_manifest("<html>", "text/html", &len) == REGISTRY_INVALID,
            "nor what is no JSON");

    unit_ok(decode_manifest(value, len, "", "") == REGISTRY_INVALID,
            "which is not believed, although its digest is right");
    unit_ok(decode_manifest("", 0, "", "") == REGISTRY_INVALID,
            "neither is nothing");

    len = REGISTRY_MANIFEST_MAX + 1;

    text = __real_malloc(len);
    if (text == NULL) {
        abort();
    }

    memset(text, ' ', len);
    text[0] = '{';
    text[len - 1] = '}';

    in.data = text;
    in.len = len;
    type = unit_text(REGISTRY_TYPE_OCI_MANIFEST);

    unit_ok(registry_envelope_manifest_encode(in, type, value)
            == REGISTRY_INVALID, "a manifest that is too large is not kept");

    memcpy(value, REGISTRY_ENVELOPE_MANIFEST, REGISTRY_ENVELOPE_MANIFEST_LEN);
    memcpy(value + REGISTRY_ENVELOPE_MANIFEST_LEN, text, len);
    registry_hash_bytes(REGISTRY_SHA256, text, len, &digest);

    unit_ok(decode_manifest(value, REGISTRY_ENVELOPE_MANIFEST_LEN + len, "",
                            "") == REGISTRY_INVALID, "nor is it believed");

    unit_free(type);
    free(text);
}


/* digest and time are those of LINE if it is believed */

static registry_status_e
decode_tag(const char *data, size_t len, uint64_t now)
{
    uint64_t            time;
    registry_str_t      in;
    registry_digest_t   tag;
    registry_status_e   status;

    in = unit_bytes(data, len);

    status = registry_envelope_tag_decode(in, key, secret, now, &tag, &time);

    if (status == REGISTRY_OK
        && (time != NOW || strcmp(tag.text, digest.text) != 0))
    {
        printf("# decoded: %s, time %llu\n", tag.text,
               (unsigned long long) time);
        status = REGISTRY_UNSUPPORTED;
    }

    unit_free(in);

    return status;
}


static void
check_tag(void)
{
    char            buf[REGISTRY_ENVELOPE_TAG_MAX];
    size_t          i, len, wrong;
    registry_str_t  other;

    registry_hash_bytes(REGISTRY_SHA256, "", 0, &digest);

    unit_ok(registry_envelope_tag_encode(&digest, NOW, key, secret, buf, &len)
            == REGISTRY_OK, "a tag");

    unit_is_number((long long) len, (long long) strlen(LINE),
                   "has its length");
    unit_ok(memcmp(buf, LINE, strlen(LINE)) == 0, "and is this line");
    unit_ok(decode_tag(buf, len, NOW) == REGISTRY_OK, "which is believed");

    wrong = 0;

    for (i = 0; i < len; i++) {
        buf[i] ^= 1;
        wrong += decode_tag(buf, len, NOW) != REGISTRY_INVALID;
        buf[i] ^= 1;

        wrong += decode_tag(buf, i, NOW) != REGISTRY_INVALID;
    }

    unit_ok(wrong == 0, "but not with a wrong byte, or cut short");
    unit_ok(decode_tag(LINE "\n", len + 1, NOW) == REGISTRY_INVALID,
            "nor with one more");

    other = key;

    key = unit_bytes("t\0library/alpine\0lates", sizeof(KEY) - 2);
    unit_ok(decode_tag(buf, len, NOW) == REGISTRY_INVALID,
            "nor under another key");
    unit_free(key);
    key = other;

    other = secret;

    secret = unit_text(SECRET "0");
    unit_ok(decode_tag(buf, len, NOW) == REGISTRY_INVALID,
            "nor with another secret");
    unit_free(secret);
    secret = other;
}


static void
check_tags(void)
{
    char               buf[REGISTRY_ENVELOPE_TAG_MAX];
    size_t             len;
    uint64_t           time;
    registry_str_t     in;
    registry_digest_t  tag;

    len = strlen(LINE);

    unit_ok(decode_tag(LINE, len, NOW + 1000000) == REGISTRY_OK,
            "an old tag is believed, and its time told");
    unit_ok(decode_tag(LINE, len, NOW - REGISTRY_ENVELOPE_SKEW) == REGISTRY_OK,
            "one of a clock that is a little ahead too");
    unit_ok(decode_tag(LINE, len, NOW - REGISTRY_ENVELOPE_SKEW - 1)
            == REGISTRY_INVALID, "but none of the future");

    unit_ok(decode_tag("", 0, NOW) == REGISTRY_INVALID, "nothing is no tag");

    registry_hash_bytes(REGISTRY_SHA512, "", 0, &digest);

    unit_ok(registry_envelope_tag_encode(&digest, UINT64_MAX, key, secret, buf,
                                         &len) == REGISTRY_OK
            && len == 237 && len <= REGISTRY_ENVELOPE_TAG_MAX,
            "the longest has its length");

    in = unit_bytes(buf, len);

    unit_ok(registry_envelope_tag_decode(in, key, secret, UINT64_MAX, &tag,
                                         &time) == REGISTRY_OK
            && registry_digest_equal(&tag, &digest) && time == UINT64_MAX,
            "and is believed");

    unit_free(in);
}


/* the line is what an encoder with the secret would not have written */

static void
check_forms(void)
{
    size_t              i;
    static const char  *lines[] = {
        "registry-tag 1  " EMPTY256 " 0\n",
        "registry-tag 1 - " EMPTY256 " 0\n",
        "registry-tag 1 01764000000 " EMPTY256 " 0\n",
        "registry-tag 1 1764000000 sha256: 0\n",
        "registry-tag 1 1764000000 " EMPTY256,
        "registry-tag 1 1764000000 " EMPTY256 " ",
        "registry-tag 1 1764000000",
        "registry-tag 1 ",
        "registry-tag 2 1764000000 " EMPTY256 " 0\n",
        REGISTRY_ENVELOPE_MANIFEST,
        REGISTRY_ENVELOPE_MANIFEST IMAGE,
        " " LINE,
    };

    for (i = 0; i < unit_count(lines); i++) {
        unit_ok(decode_tag(lines[i], strlen(lines[i]), NOW)
                == REGISTRY_INVALID, "a line that is no tag, %d", (int) i);
    }
}


static void
check_memory_manifest(void)
{
    long               n, wrong;
    char               type[REGISTRY_MEDIA_TYPE_MAX + 1];
    size_t             len;
    registry_str_t     in, bytes, media_type;
    registry_status_e  status;

    /* jansson's lexer does not tell that it could not grow: short strings */

    (void) encode_manifest(SHORT, "a/b", &len);

    in = unit_bytes(value, len);
    bytes = unit_text(SHORT);
    media_type = unit_text("a/b");
    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_envelope_manifest_encode(bytes, media_type, value);

        if (unit_allocations < n) {
            break;
        }

        wrong += status != REGISTRY_NOMEM
                 && !(unit_failed_json && status == REGISTRY_INVALID);
    }

    unit_fail_at(0);
    unit_ok(n > 5 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed while a manifest is encoded",
            n - 1);

    unit_free(bytes);
    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_envelope_manifest_decode(in, &digest, &bytes, type);

        if (unit_allocations < n) {
            break;
        }

        wrong += status != REGISTRY_NOMEM
                 && !(unit_failed_json && status == REGISTRY_INVALID);
    }

    unit_fail_at(0);
    unit_ok(n > 5 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed while one is decoded", n - 1);

    unit_free(in);
    unit_free(media_type);
}


/* OpenSSL's allocations, which are counted like the others */

static void *
crypto_malloc(size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    return ++unit_allocations == unit_failing ? NULL : __real_malloc(size);
}


static void *
crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    return ++unit_allocations == unit_failing ? NULL : realloc(p, size);
}


static void
crypto_free(void *p, const char *file, int line)
{
    (void) file;
    (void) line;

    free(p);
}


static void
check_memory_tag(void)
{
    long               n, wrong;
    char               buf[REGISTRY_ENVELOPE_TAG_MAX];
    size_t             len;
    uint64_t           time;
    registry_str_t     in;
    registry_digest_t  tag;
    registry_status_e  status;

    registry_hash_bytes(REGISTRY_SHA256, "", 0, &digest);

    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_envelope_tag_encode(&digest, NOW, key, secret, buf,
                                              &len);

        if (unit_allocations < n) {
            break;
        }

        wrong += status != REGISTRY_NOMEM && status != REGISTRY_OK;
        wrong += status == REGISTRY_OK && memcmp(buf, LINE, len) != 0;
    }

    unit_fail_at(0);
    unit_ok(n > 3 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed while a tag is encoded", n - 1);

    in = unit_text(LINE);
    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_envelope_tag_decode(in, key, secret, NOW, &tag,
                                              &time);

        if (unit_allocations < n) {
            break;
        }

        wrong += status != REGISTRY_NOMEM && status != REGISTRY_OK;
    }

    unit_fail_at(0);
    unit_ok(n > 3 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed while one is decoded", n - 1);

    unit_free(in);
}


int
main(void)
{
    /* before OpenSSL has allocated anything */

    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free)
        != 1)
    {
        return 1;
    }

    unit_wrap_json();

    secret = unit_text(SECRET);
    key = unit_bytes(KEY, sizeof(KEY) - 1);

    check_manifests();
    check_bad_manifests();
    check_tag();
    check_tags();
    check_forms();
    check_memory_manifest();
    check_memory_tag();

    unit_free(secret);
    unit_free(key);

    return unit_done();
}
