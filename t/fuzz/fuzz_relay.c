
/*
 * Sessions as text: nothing is accepted that was not written with the key,
 * and what was written is read as it was.
 */


#include "fuzz.h"
#include "registry_relay.h"


static const unsigned char  key[REGISTRY_RELAY_KEY] = "a key of the fuzzer";


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            text[REGISTRY_RELAY_MAX], buf[REGISTRY_RELAY_MAX];
    size_t          len, half;
    registry_str_t  in, peer, path, p, u;

    in = fuzz_str(data, size);

    fuzz_check(registry_relay_read(key, fuzz_text("a/b"), in, buf, &p, &u)
               == REGISTRY_INVALID);

    half = size / 2;

    peer.data = (const char *) data;
    peer.len = half;
    path.data = (const char *) data + half;
    path.len = size - half;

    if (memchr(data, '\0', half)
        || registry_relay_write(key, fuzz_text("a/b"), peer, path, text, &len)
           != REGISTRY_OK)
    {
        return 0;
    }

    fuzz_check(len <= sizeof(text));

    in.data = text;
    in.len = len;

    fuzz_check(registry_relay_read(key, fuzz_text("a/b"), in, buf, &p, &u)
               == REGISTRY_OK);
    fuzz_check(p.len == peer.len && memcmp(p.data, peer.data, p.len) == 0);
    fuzz_check(u.len == path.len && memcmp(u.data, path.data, u.len) == 0);

    return 0;
}
