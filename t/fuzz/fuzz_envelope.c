
/*
 * Values of a shared cache.  The input is used as a tag, as one with the right
 * MAC (which no fuzzer guesses), as a manifest that has the digest which is
 * asked for, and as the key of a tag.
 */


#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fuzz.h"
#include "registry_envelope.h"
#include "registry_manifest.h"


#define NOW     1764000000
#define HEX     (2 * SHA256_DIGEST_LENGTH)
#define SECRET  "0123456789abcdef"


/* what is accepted is what would be written */

static int
check_tag(registry_str_t in, registry_str_t key)
{
    char               buf[REGISTRY_ENVELOPE_TAG_MAX];
    size_t             n;
    uint64_t           time;
    registry_digest_t  digest;

    if (registry_envelope_tag_decode(in, key, fuzz_text(SECRET), NOW, &digest,
                                     &time)
        != REGISTRY_OK)
    {
        return 0;
    }

    fuzz_check(time <= NOW + REGISTRY_ENVELOPE_SKEW);
    fuzz_check(registry_envelope_tag_encode(&digest, time, key,
                                            fuzz_text(SECRET), buf, &n)
               == REGISTRY_OK);
    fuzz_check(n == in.len && n <= sizeof(buf)
               && memcmp(buf, in.data, n) == 0);

    return 1;
}


/* the input up to where a MAC would stand, with the one that it wants */

static void
check_sealed(registry_str_t in, registry_str_t key)
{
    char               text[REGISTRY_ENVELOPE_TAG_MAX + HEX + 1];
    size_t             i;
    unsigned char      mac[SHA256_DIGEST_LENGTH];
    registry_digest_t  sum;

    if (in.len > REGISTRY_ENVELOPE_TAG_MAX) {
        return;
    }

    registry_hash_bytes(REGISTRY_SHA256, key.data, key.len, &sum);

    memcpy(text, in.data, in.len);
    memcpy(text + in.len, registry_digest_hex(&sum), HEX);

    fuzz_check(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1,
                    (unsigned char *) text, in.len + HEX, mac, NULL)
               != NULL);

    for (i = 0; i < sizeof(mac); i++) {
        sprintf(text + in.len + 2 * i, "%02x", mac[i]);
    }

    text[in.len + HEX] = '\n';

    if (!check_tag(fuzz_str(text, in.len + HEX + 1), key)) {
        return;
    }

    text[mac[0] % (in.len + HEX)] ^= 1;
    fuzz_check(!check_tag(fuzz_str(text, in.len + HEX + 1), key));
}


/* the input as a key: another one is another MAC */

static void
check_key(registry_str_t in)
{
    char               buf[REGISTRY_ENVELOPE_TAG_MAX];
    size_t             n;
    registry_digest_t  digest;

    registry_hash_bytes(REGISTRY_SHA512, in.data, in.len, &digest);

    fuzz_check(registry_envelope_tag_encode(&digest, NOW, in,
                                            fuzz_text(SECRET), buf, &n)
               == REGISTRY_OK);

    fuzz_check(check_tag(fuzz_str(buf, n), in));
    fuzz_check(!check_tag(fuzz_str(buf, n), fuzz_str(in.data, in.len - 1)));
}


static void
check_manifest(registry_str_t in)
{
    char               type[REGISTRY_MEDIA_TYPE_MAX + 1];
    char               again[REGISTRY_ENVELOPE_MANIFEST_LEN];
    registry_str_t     bytes;
    registry_digest_t  digest;

    if (in.len < REGISTRY_ENVELOPE_MANIFEST_LEN) {
        return;
    }

    registry_hash_bytes(REGISTRY_SHA256,
                        in.data + REGISTRY_ENVELOPE_MANIFEST_LEN,
                        in.len - REGISTRY_ENVELOPE_MANIFEST_LEN, &digest);

    if (registry_envelope_manifest_decode(in, &digest, &bytes, type)
        != REGISTRY_OK)
    {
        return;
    }

    fuzz_check(fuzz_inside(bytes, in));
    fuzz_check(strlen(type) <= REGISTRY_MEDIA_TYPE_MAX);

    fuzz_check(registry_envelope_manifest_encode(bytes, fuzz_text(type), again)
               == REGISTRY_OK);
    fuzz_check(memcmp(again, in.data, sizeof(again)) == 0);

    digest.text[digest.len - 1] ^= 1;
    fuzz_check(registry_envelope_manifest_decode(in, &digest, &bytes, type)
               == REGISTRY_INVALID);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    registry_str_t  in;

    in = fuzz_str(data, size);

    (void) check_tag(in, fuzz_text("key"));
    check_manifest(in);

    if (size) {
        check_sealed(in, fuzz_text("key"));
        check_key(in);
    }

    return 0;
}
