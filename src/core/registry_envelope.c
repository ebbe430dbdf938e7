
/*
 * Values of a shared cache, made so that their reader need not trust it.
 */


#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "registry_envelope.h"
#include "registry_manifest.h"
#include "registry_query.h"


#define REGISTRY_ENVELOPE_TAG  "registry-tag 1 "


static registry_str_t registry_envelope_field(registry_str_t *rest);


registry_status_e
registry_envelope_manifest_encode(registry_str_t bytes,
    registry_str_t media_type, char *buf)
{
    int                own;
    char               type[REGISTRY_MEDIA_TYPE_MAX + 1];
    registry_status_e  status;

    if (bytes.len > REGISTRY_MANIFEST_MAX) {
        return REGISTRY_INVALID;
    }

    status = registry_media_type(bytes, type, &own);
    if (status != REGISTRY_OK) {
        return status;
    }

    if (strlen(type) != media_type.len
        || memcmp(type, media_type.data, media_type.len) != 0)
    {
        return REGISTRY_UNSUPPORTED;
    }

    memcpy(buf, REGISTRY_ENVELOPE_MANIFEST, REGISTRY_ENVELOPE_MANIFEST_LEN);

    return REGISTRY_OK;
}


registry_status_e
registry_envelope_manifest_decode(registry_str_t in,
    const registry_digest_t *digest, registry_str_t *bytes, char *media_type)
{
    int                own;
    registry_digest_t  actual;

    if (in.len < REGISTRY_ENVELOPE_MANIFEST_LEN
        || memcmp(in.data, REGISTRY_ENVELOPE_MANIFEST,
                  REGISTRY_ENVELOPE_MANIFEST_LEN)
           != 0)
    {
        return REGISTRY_INVALID;
    }

    bytes->data = in.data + REGISTRY_ENVELOPE_MANIFEST_LEN;
    bytes->len = in.len - REGISTRY_ENVELOPE_MANIFEST_LEN;

    if (bytes->len > REGISTRY_MANIFEST_MAX) {
        return REGISTRY_INVALID;
    }

    registry_hash_bytes(digest->algorithm, bytes->data, bytes->len, &actual);

    if (!registry_digest_equal(&actual, digest)) {
        return REGISTRY_INVALID;
    }

    return registry_media_type(*bytes, media_type, &own);
}


registry_status_e
registry_envelope_tag_encode(const registry_digest_t *digest, uint64_t time,
    registry_str_t key, registry_str_t secret, char *buf, size_t *len)
{
    char               *p;
    size_t              i;
    unsigned int        n;
    unsigned char       mac[EVP_MAX_MD_SIZE];
    registry_digest_t   sum;
    static const char   hex[] = "0123456789abcdef";

    p = buf + sprintf(buf, REGISTRY_ENVELOPE_TAG "%" PRIu64 " %s ", time,
                      digest->text);

    /* the key's hash stands where the MAC will */

    registry_hash_bytes(REGISTRY_SHA256, key.data, key.len, &sum);
    memcpy(p, registry_digest_hex(&sum), registry_digest_hex_len(&sum));

    if (HMAC(EVP_sha256(), secret.data, (int) secret.len,
             (unsigned char *) buf,
             (size_t) (p - buf) + registry_digest_hex_len(&sum), mac, &n)
        == NULL)
    {
        return REGISTRY_NOMEM;
    }

    for (i = 0; i < n; i++) {
        *p++ = hex[mac[i] >> 4];
        *p++ = hex[mac[i] & 0xf];
    }

    *p++ = '\n';
    *len = (size_t) (p - buf);

    return REGISTRY_OK;
}


registry_status_e
registry_envelope_tag_decode(registry_str_t in, registry_str_t key,
    registry_str_t secret, uint64_t now, registry_digest_t *digest,
    uint64_t *time)
{
    size_t             n;
    registry_str_t     rest, field;
    registry_status_e  status;
    char               again[REGISTRY_ENVELOPE_TAG_MAX];

    n = sizeof(REGISTRY_ENVELOPE_TAG) - 1;

    if (in.len < n || memcmp(in.data, REGISTRY_ENVELOPE_TAG, n) != 0) {
        return REGISTRY_INVALID;
    }

    rest.data = in.data + n;
    rest.len = in.len - n;

    field = registry_envelope_field(&rest);

    if (registry_decimal_parse(field, time) != REGISTRY_OK) {
        return REGISTRY_INVALID;
    }

    field = registry_envelope_field(&rest);

    if (registry_digest_parse(field, digest) != REGISTRY_OK) {
        return REGISTRY_INVALID;
    }

    /* whatever is wrong in the rest shows here */

    status = registry_envelope_tag_encode(digest, *time, key, secret, again,
                                          &n);
    if (status != REGISTRY_OK) {
        return status;
    }

    if (n != in.len || CRYPTO_memcmp(again, in.data, n) != 0) {
        return REGISTRY_INVALID;
    }

    if (*time > now && *time - now > REGISTRY_ENVELOPE_SKEW) {
        return REGISTRY_INVALID;
    }

    return REGISTRY_OK;
}


/* what is before the next space, which is taken off the rest as well */

static registry_str_t
registry_envelope_field(registry_str_t *rest)
{
    size_t          n;
    registry_str_t  field;

    for (n = 0; n < rest->len && rest->data[n] != ' '; n++) {
        /* void */
    }

    field.data = rest->data;
    field.len = n;

    if (n < rest->len) {
        n++;
    }

    rest->data += n;
    rest->len -= n;

    return field;
}
