
/*
 * Digests: what is accepted is kept byte for byte.
 */


#include "fuzz.h"
#include "registry_digest.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i;
    registry_str_t     in;
    registry_digest_t  digest, again;
    registry_status_e  status;

    in = fuzz_str(data, size);
    status = registry_digest_parse(in, &digest);

    switch (status) {

    case REGISTRY_OK:
        fuzz_check(digest.len == size
                   && memcmp(digest.text, data, size) == 0
                   && digest.text[size] == '\0');
        fuzz_check(registry_digest_hex_len(&digest)
                   == (digest.algorithm == REGISTRY_SHA256 ? 64 : 128));
        fuzz_check(strspn(registry_digest_hex(&digest), "0123456789abcdef")
                   == registry_digest_hex_len(&digest));
        fuzz_check(strncmp(digest.text,
                           registry_algorithm_name(digest.algorithm),
                           REGISTRY_ALGORITHM_LEN)
                   == 0);

        fuzz_check(registry_digest_parse(fuzz_text(digest.text), &again)
                   == REGISTRY_OK);
        fuzz_check(registry_digest_equal(&digest, &again));
        break;

    case REGISTRY_UNSUPPORTED:

        /* still nothing that means something to a file system */

        for (i = 0; i < size; i++) {
            fuzz_check(data[i] > 0x20 && data[i] < 0x7f && data[i] != '/');
        }

        fuzz_check(memchr(data, ':', size) != NULL);
        fuzz_check(size < 7 || (memcmp(data, "sha256:", 7) != 0
                                && memcmp(data, "sha512:", 7) != 0));
        break;

    default:
        fuzz_check(status == REGISTRY_INVALID);
    }

    return 0;
}
