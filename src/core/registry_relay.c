
/*
 * A session as text: base64url (RFC 4648, section 5, without padding) of the
 * peer, a zero and the path, then a dot and the first half of an HMAC over the
 * repository, a zero and the same in hex.
 */


#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "registry_relay.h"


#define REGISTRY_RELAY_MAC   16         /* bytes */
#define REGISTRY_RELAY_TAIL  (1 + 2 * REGISTRY_RELAY_MAC)

/* what base64 makes 4 * n bytes of, and fits with the rest */

#define REGISTRY_RELAY_PLAIN                                                  \
    ((REGISTRY_RELAY_MAX - REGISTRY_RELAY_TAIL - 4) / 4 * 3)


static int registry_relay_mac(const unsigned char *key,
    registry_str_t repository, const char *plain, size_t len, char *hex);
static size_t registry_relay_encode(const char *plain, size_t len, char *buf);
static int registry_relay_decode(registry_str_t text, char *buf,
    size_t *len);


registry_status_e
registry_relay_write(const unsigned char key[REGISTRY_RELAY_KEY],
    registry_str_t repository, registry_str_t peer, registry_str_t path,
    char *buf, size_t *len)
{
    char    plain[REGISTRY_RELAY_PLAIN];
    size_t  n;

    if (peer.len >= sizeof(plain) || path.len >= sizeof(plain) - peer.len) {
        return REGISTRY_INVALID;
    }

    memcpy(plain, peer.data, peer.len);
    plain[peer.len] = '\0';
    memcpy(plain + peer.len + 1, path.data, path.len);

    n = registry_relay_encode(plain, peer.len + 1 + path.len, buf);
    buf[n++] = '.';

    if (!registry_relay_mac(key, repository, plain, peer.len + 1 + path.len,
                            buf + n))
    {
        return REGISTRY_INVALID;
    }

    *len = n + 2 * REGISTRY_RELAY_MAC;

    return REGISTRY_OK;
}


registry_status_e
registry_relay_read(const unsigned char key[REGISTRY_RELAY_KEY],
    registry_str_t repository, registry_str_t text, char *buf,
    registry_str_t *peer, registry_str_t *path)
{
    char            mac[2 * REGISTRY_RELAY_MAC];
    char           *zero;
    size_t          len;
    registry_str_t  body;

    if (text.len <= REGISTRY_RELAY_TAIL || text.len > REGISTRY_RELAY_MAX) {
        return REGISTRY_INVALID;
    }

    body.data = text.data;
    body.len = text.len - REGISTRY_RELAY_TAIL;

    if (body.data[body.len] != '.' || !registry_relay_decode(body, buf, &len)
        || !registry_relay_mac(key, repository, buf, len, mac)
        || CRYPTO_memcmp(mac, body.data + body.len + 1, sizeof(mac)) != 0)
    {
        return REGISTRY_INVALID;
    }

    zero = memchr(buf, '\0', len);

    if (zero == NULL) {
        return REGISTRY_INVALID;
    }

    peer->data = buf;
    peer->len = zero - buf;
    path->data = zero + 1;
    path->len = len - peer->len - 1;

    return REGISTRY_OK;
}


static int
registry_relay_mac(const unsigned char *key, registry_str_t repository,
    const char *plain, size_t len, char *hex)
{
    char           text[REGISTRY_RELAY_MAX + REGISTRY_RELAY_PLAIN];
    size_t         i;
    unsigned int   n;
    unsigned char  mac[EVP_MAX_MD_SIZE];

    static const char  digits[] = "0123456789abcdef";

    if (repository.len >= REGISTRY_RELAY_MAX) {
        return 0;
    }

    memcpy(text, repository.data, repository.len);
    text[repository.len] = '\0';
    memcpy(text + repository.len + 1, plain, len);

    if (HMAC(EVP_sha256(), key, REGISTRY_RELAY_KEY,
             (const unsigned char *) text, repository.len + 1 + len, mac, &n)
        == NULL)
    {
        return 0;
    }

    for (i = 0; i < REGISTRY_RELAY_MAC; i++) {
        hex[2 * i] = digits[mac[i] >> 4];
        hex[2 * i + 1] = digits[mac[i] & 0x0f];
    }

    return 1;
}


static size_t
registry_relay_encode(const char *plain, size_t len, char *buf)
{
    size_t  i, n;

    n = EVP_EncodeBlock((unsigned char *) buf, (const unsigned char *) plain,
                        (int) len);

    while (n && buf[n - 1] == '=') {
        n--;
    }

    for (i = 0; i < n; i++) {
        if (buf[i] == '+') {
            buf[i] = '-';

        } else if (buf[i] == '/') {
            buf[i] = '_';
        }
    }

    return n;
}


/* only what the other one writes: one text for one session */

static int
registry_relay_decode(registry_str_t text, char *buf, size_t *len)
{
    int     n;
    char    base64[REGISTRY_RELAY_MAX], again[REGISTRY_RELAY_MAX];
    size_t  i, pad;

    pad = (4 - text.len % 4) % 4;

    if (pad == 3 || text.len + pad > sizeof(base64)) {
        return 0;
    }

    for (i = 0; i < text.len; i++) {
        base64[i] = (text.data[i] == '-') ? '+'
                    : (text.data[i] == '_') ? '/' : text.data[i];
    }

    memset(base64 + text.len, '=', pad);

    n = EVP_DecodeBlock((unsigned char *) buf, (unsigned char *) base64,
                        (int) (text.len + pad));

    if (n < 0) {
        return 0;
    }

    *len = n - pad;

    return registry_relay_encode(buf, *len, again) == text.len
           && memcmp(again, text.data, text.len) == 0;
}
