
/*
 * Digests and the hash behind them.  OpenSSL's low-level functions are used
 * although they are deprecated: the state behind EVP cannot be stored.
 */


#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "registry_digest.h"
#include "registry_query.h"


#define REGISTRY_HASH_SUM_LEN  16       /* hex digits that end a state */


typedef struct {
    registry_str_t  name;
    size_t          hex_len;            /* of a digest */
    size_t          word;               /* bytes in a word of the state */
    size_t          block;              /* bytes */
} registry_algorithm_t;


/* in the order of registry_algorithm_e */

static const registry_algorithm_t  registry_algorithms[] = {
    { registry_str("sha256"), 64, 4, 64 },
    { registry_str("sha512"), 128, 8, 128 }
};


static int registry_digest_other(registry_str_t in, size_t colon);
static int registry_hex_valid(const char *p, size_t len);
static char *registry_hex_write(char *p, const unsigned char *data,
    size_t len);
static int registry_hex_read(registry_str_t in, unsigned char *data,
    size_t len);
static int registry_hex_digit(char c);
static registry_str_t registry_hash_field(registry_str_t *rest);
static unsigned char *registry_hash_partial(registry_hash_t *hash);
static void registry_hash_put_words(const registry_hash_t *hash,
    unsigned char *data);
static void registry_hash_get_words(registry_hash_t *hash,
    const unsigned char *data);


const char *
registry_algorithm_name(registry_algorithm_e algorithm)
{
    return registry_algorithms[algorithm].name.data;
}


registry_status_e
registry_algorithm_parse(registry_str_t in, registry_algorithm_e *algorithm)
{
    if (in.len != REGISTRY_ALGORITHM_LEN) {
        return REGISTRY_UNSUPPORTED;
    }

    if (memcmp(in.data, "sha256", REGISTRY_ALGORITHM_LEN) == 0) {
        *algorithm = REGISTRY_SHA256;
        return REGISTRY_OK;
    }

    if (memcmp(in.data, "sha512", REGISTRY_ALGORITHM_LEN) == 0) {
        *algorithm = REGISTRY_SHA512;
        return REGISTRY_OK;
    }

    return REGISTRY_UNSUPPORTED;
}


registry_status_e
registry_digest_parse(registry_str_t in, registry_digest_t *digest)
{
    size_t                colon;
    registry_str_t        name;
    registry_algorithm_e  algorithm;

    for (colon = 0; colon < in.len && in.data[colon] != ':'; colon++) {
        /* void */
    }

    if (colon == in.len) {
        return REGISTRY_INVALID;
    }

    name.data = in.data;
    name.len = colon;

    if (registry_algorithm_parse(name, &algorithm) != REGISTRY_OK) {
        return registry_digest_other(in, colon) ? REGISTRY_UNSUPPORTED
                                                : REGISTRY_INVALID;
    }

    if (in.len - colon - 1 != registry_algorithms[algorithm].hex_len
        || !registry_hex_valid(in.data + colon + 1, in.len - colon - 1))
    {
        return REGISTRY_INVALID;
    }

    digest->algorithm = algorithm;
    digest->len = in.len;
    memcpy(digest->text, in.data, in.len);
    digest->text[in.len] = '\0';

    return REGISTRY_OK;
}


/* "Digests" again: words joined by one of "+._-", ":", and base64url or hex */

static int
registry_digest_other(registry_str_t in, size_t colon)
{
    int     word;
    char    c;
    size_t  i;

    word = 0;

    for (i = 0; i < colon; i++) {
        c = in.data[i];

        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
            word = 1;
            continue;
        }

        if (!word || (c != '+' && c != '.' && c != '_' && c != '-')) {
            return 0;
        }

        word = 0;
    }

    if (!word || colon + 1 == in.len) {
        return 0;
    }

    for (i = colon + 1; i < in.len; i++) {
        c = in.data[i];

        if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
            && (c < '0' || c > '9') && c != '=' && c != '_' && c != '-')
        {
            return 0;
        }
    }

    return 1;
}


int
registry_digest_equal(const registry_digest_t *a, const registry_digest_t *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}


size_t
registry_digest_bytes(const registry_digest_t *digest, unsigned char *bytes)
{
    size_t          len;
    registry_str_t  hex;

    hex.data = registry_digest_hex(digest);
    hex.len = registry_digest_hex_len(digest);

    len = registry_hash_len(digest->algorithm);

    (void) registry_hex_read(hex, bytes, len);

    return len;
}


void
registry_digest_set(registry_digest_t *digest, registry_algorithm_e algorithm,
    const unsigned char *bytes)
{
    char  *p;

    p = &digest->text[0];
    memcpy(p, registry_algorithm_name(algorithm), REGISTRY_ALGORITHM_LEN);
    p += REGISTRY_ALGORITHM_LEN;
    *p++ = ':';

    p = registry_hex_write(p, bytes, registry_hash_len(algorithm));
    *p = '\0';

    digest->algorithm = algorithm;
    digest->len = (size_t) (p - digest->text);
}


size_t
registry_hash_len(registry_algorithm_e algorithm)
{
    return registry_algorithms[algorithm].hex_len / 2;
}


void
registry_hash_init(registry_hash_t *hash, registry_algorithm_e algorithm)
{
    hash->algorithm = algorithm;
    hash->length = 0;

    if (algorithm == REGISTRY_SHA256) {
        SHA256_Init(&hash->u.sha256);

    } else {
        SHA512_Init(&hash->u.sha512);
    }
}


void
registry_hash_update(registry_hash_t *hash, const void *data, size_t len)
{
    hash->length += len;

    if (hash->algorithm == REGISTRY_SHA256) {
        SHA256_Update(&hash->u.sha256, data, len);

    } else {
        SHA512_Update(&hash->u.sha512, data, len);
    }
}


void
registry_hash_final(registry_hash_t *hash, registry_digest_t *digest)
{
    unsigned char  md[REGISTRY_HASH_MAX];

    if (hash->algorithm == REGISTRY_SHA256) {
        SHA256_Final(md, &hash->u.sha256);

    } else {
        SHA512_Final(md, &hash->u.sha512);
    }

    registry_digest_set(digest, hash->algorithm, md);
}


int
registry_hash_is(const registry_hash_t *hash,
    const registry_digest_t *expected, registry_digest_t *actual)
{
    registry_hash_t  copy;

    copy = *hash;
    registry_hash_final(&copy, actual);

    return registry_digest_equal(actual, expected);
}


void
registry_hash_bytes(registry_algorithm_e algorithm, const void *data,
    size_t len, registry_digest_t *digest)
{
    registry_hash_t  hash;

    registry_hash_init(&hash, algorithm);
    registry_hash_update(&hash, data, len);
    registry_hash_final(&hash, digest);
}


size_t
registry_hash_export(const registry_hash_t *hash, char *buf)
{
    char                        *p;
    size_t                       n;
    registry_hash_t              copy;
    registry_digest_t            sum;
    const registry_algorithm_t  *algorithm;
    unsigned char                words[SHA512_DIGEST_LENGTH];

    algorithm = &registry_algorithms[hash->algorithm];

    p = buf + sprintf(buf, "registry-hash 1 %s %" PRIu64 " ",
                      algorithm->name.data, hash->length);

    registry_hash_put_words(hash, words);

    p = registry_hex_write(p, words, algorithm->word * 8);
    *p++ = ' ';

    n = (size_t) (hash->length % algorithm->block);

    if (n) {
        copy = *hash;
        p = registry_hex_write(p, registry_hash_partial(&copy), n);

    } else {
        *p++ = '-';
    }

    *p++ = ' ';

    /* the sum is over all that stands before it, this space included */

    registry_hash_bytes(REGISTRY_SHA256, buf, (size_t) (p - buf), &sum);

    memcpy(p, registry_digest_hex(&sum), REGISTRY_HASH_SUM_LEN);
    p += REGISTRY_HASH_SUM_LEN;
    *p++ = '\n';

    return (size_t) (p - buf);
}


registry_status_e
registry_hash_import(registry_str_t in, registry_hash_t *hash)
{
    size_t                       n;
    uint64_t                     length;
    registry_str_t               rest, field;
    registry_algorithm_e         name;
    const registry_algorithm_t  *algorithm;
    char                         again[REGISTRY_HASH_STATE_MAX];
    unsigned char                words[SHA512_DIGEST_LENGTH];

    rest = in;

    (void) registry_hash_field(&rest);          /* "registry-hash" */
    (void) registry_hash_field(&rest);          /* "1" */

    field = registry_hash_field(&rest);

    if (registry_algorithm_parse(field, &name) != REGISTRY_OK) {
        return REGISTRY_INVALID;
    }

    algorithm = &registry_algorithms[name];

    field = registry_hash_field(&rest);

    if (registry_decimal_parse(field, &length) != REGISTRY_OK) {
        return REGISTRY_INVALID;
    }

    field = registry_hash_field(&rest);
    memset(words, 0, sizeof(words));

    if (!registry_hex_read(field, words, algorithm->word * 8)) {
        return REGISTRY_INVALID;
    }

    registry_hash_init(hash, name);
    hash->length = length;
    registry_hash_get_words(hash, words);

    field = registry_hash_field(&rest);
    n = (size_t) (length % algorithm->block);

    if (n && !registry_hex_read(field, registry_hash_partial(hash), n)) {
        return REGISTRY_INVALID;
    }

    /* whatever was passed over so far, and the sum, shows here */

    n = registry_hash_export(hash, again);

    if (n != in.len || memcmp(again, in.data, n) != 0) {
        return REGISTRY_INVALID;
    }

    return REGISTRY_OK;
}


static registry_str_t
registry_hash_field(registry_str_t *rest)
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

    if (n) {
        rest->data += n;
        rest->len -= n;
    }

    return field;
}


/* where OpenSSL keeps the bytes that do not fill a block yet */

static unsigned char *
registry_hash_partial(registry_hash_t *hash)
{
    return hash->algorithm == REGISTRY_SHA256
           ? (unsigned char *) hash->u.sha256.data : hash->u.sha512.u.p;
}


static void
registry_hash_put_words(const registry_hash_t *hash, unsigned char *data)
{
    size_t    i, k, size;
    uint64_t  word;

    size = registry_algorithms[hash->algorithm].word;

    for (i = 0; i < 8; i++) {
        word = hash->algorithm == REGISTRY_SHA256 ? hash->u.sha256.h[i]
                                                  : hash->u.sha512.h[i];

        for (k = size; k > 0; k--) {
            data[i * size + k - 1] = (unsigned char) (word & 0xff);
            word >>= 8;
        }
    }
}


/* sets all of the state but the partial block */

static void
registry_hash_get_words(registry_hash_t *hash, const unsigned char *data)
{
    size_t    i, k, size, block;
    uint64_t  word;

    size = registry_algorithms[hash->algorithm].word;
    block = registry_algorithms[hash->algorithm].block;

    for (i = 0; i < 8; i++) {
        word = 0;

        for (k = 0; k < size; k++) {
            word = word << 8 | data[i * size + k];
        }

        if (hash->algorithm == REGISTRY_SHA256) {
            hash->u.sha256.h[i] = (SHA_LONG) word;

        } else {
            hash->u.sha512.h[i] = word;
        }
    }

    /* the length is kept in bits, in two words */

    if (hash->algorithm == REGISTRY_SHA256) {
        hash->u.sha256.Nl = (SHA_LONG) (hash->length << 3);
        hash->u.sha256.Nh = (SHA_LONG) (hash->length >> 29);
        hash->u.sha256.num = (unsigned int) (hash->length % block);

    } else {
        hash->u.sha512.Nl = hash->length << 3;
        hash->u.sha512.Nh = hash->length >> 61;
        hash->u.sha512.num = (unsigned int) (hash->length % block);
    }
}


/* all of them, with no jump that depends on a digit: none can be predicted */

static int
registry_hex_valid(const char *p, size_t len)
{
    char    c;
    int     valid;
    size_t  i;

    valid = 1;

    for (i = 0; i < len; i++) {
        c = p[i];
        valid &= (c >= '0' && c <= '9') | (c >= 'a' && c <= 'f');
    }

    return valid;
}


static char *
registry_hex_write(char *p, const unsigned char *data, size_t len)
{
    size_t             i;
    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < len; i++) {
        *p++ = hex[data[i] >> 4];
        *p++ = hex[data[i] & 0xf];
    }

    return p;
}


static int
registry_hex_read(registry_str_t in, unsigned char *data, size_t len)
{
    int     high, low;
    size_t  i;

    if (in.len != len * 2) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        high = registry_hex_digit(in.data[2 * i]);
        low = registry_hex_digit(in.data[2 * i + 1]);

        if (high == -1 || low == -1) {
            return 0;
        }

        data[i] = (unsigned char) (high << 4 | low);
    }

    return 1;
}


/* lower case only, as digests have it; -1 for anything else */

static int
registry_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    return -1;
}
