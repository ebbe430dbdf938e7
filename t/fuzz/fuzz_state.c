
/*
 * Stored hash states.  The input is used three ways: as a stored state, as
 * one that lacks its sum (which no fuzzer guesses), and as content to hash.
 */


#include "fuzz.h"
#include "registry_digest.h"


#define SUM_LEN  16


/* what is accepted is what would be written, and can be gone on with */

static int
check_import(registry_str_t in)
{
    char               buf[REGISTRY_HASH_STATE_MAX];
    size_t             n;
    registry_hash_t    hash;
    registry_digest_t  digest, again;

    if (registry_hash_import(in, &hash) != REGISTRY_OK) {
        return 0;
    }

    n = registry_hash_export(&hash, buf);
    fuzz_check(n == in.len && n <= sizeof(buf)
               && memcmp(buf, in.data, n) == 0);

    registry_hash_update(&hash, "x", 1);
    registry_hash_final(&hash, &digest);
    fuzz_check(registry_digest_parse(fuzz_text(digest.text), &again)
               == REGISTRY_OK);

    return 1;
}


static void
check_sum(registry_str_t in)
{
    char               buf[2 * REGISTRY_HASH_STATE_MAX];
    registry_digest_t  sum;

    if (in.len > sizeof(buf) - SUM_LEN - 1) {
        return;
    }

    registry_hash_bytes(REGISTRY_SHA256, in.data, in.len, &sum);

    if (in.len) {
        memcpy(buf, in.data, in.len);
    }

    memcpy(buf + in.len, registry_digest_hex(&sum), SUM_LEN);
    buf[in.len + SUM_LEN] = '\n';

    (void) check_import(fuzz_str(buf, in.len + SUM_LEN + 1));
}


/* stored and taken up again in the middle, and damaged in one byte */

static void
check_content(registry_algorithm_e algorithm, size_t at, registry_str_t in)
{
    char               buf[REGISTRY_HASH_STATE_MAX];
    size_t             n;
    registry_hash_t    hash, other;
    registry_digest_t  whole, parts;

    at = in.len ? at % (in.len + 1) : 0;

    registry_hash_bytes(algorithm, in.data, in.len, &whole);

    registry_hash_init(&hash, algorithm);
    registry_hash_update(&hash, in.data, at);

    n = registry_hash_export(&hash, buf);
    fuzz_check(registry_hash_import(fuzz_str(buf, n), &other)
               == REGISTRY_OK);
    fuzz_check(other.length == at);

    if (in.len) {
        registry_hash_update(&other, in.data + at, in.len - at);
    }

    registry_hash_final(&other, &parts);
    fuzz_check(registry_digest_equal(&whole, &parts));

    buf[at % n] ^= 1;
    fuzz_check(!check_import(fuzz_str(buf, n)));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    registry_str_t  in;

    in = fuzz_str(data, size);

    (void) check_import(in);
    check_sum(in);

    if (size) {
        check_content(data[0] & 1 ? REGISTRY_SHA512 : REGISTRY_SHA256,
                      data[0] * (size_t) 3,
                      fuzz_str(data + 1, size - 1));
    }

    return 0;
}
