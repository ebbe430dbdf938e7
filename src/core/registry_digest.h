
/*
 * Content digests (OCI image-spec, descriptor.md, "Digests") and the
 * incremental hash behind them, whose state can be stored and taken up
 * again by another process.
 */


#ifndef REGISTRY_DIGEST_H
#define REGISTRY_DIGEST_H


#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "registry_types.h"


typedef enum {
    REGISTRY_SHA256 = 0,
    REGISTRY_SHA512
} registry_algorithm_e;


#define REGISTRY_ALGORITHM_LEN   6      /* "sha256", "sha512" */
#define REGISTRY_DIGEST_MAX      (REGISTRY_ALGORITHM_LEN + 1 + 128)


/* "sha256:<64 lower-case hex digits>" or "sha512:<128>" */

typedef struct {
    registry_algorithm_e  algorithm;
    size_t                len;          /* of text */
    char                  text[REGISTRY_DIGEST_MAX + 1];
                                        /* terminated by a zero */
} registry_digest_t;


#define registry_digest_hex(d)      ((d)->text + REGISTRY_ALGORITHM_LEN + 1)
#define registry_digest_hex_len(d)  ((d)->len - REGISTRY_ALGORITHM_LEN - 1)


/* "sha256" or "sha512", a static string */

const char *registry_algorithm_name(registry_algorithm_e algorithm);

/* REGISTRY_UNSUPPORTED for any other name */

registry_status_e registry_algorithm_parse(registry_str_t in,
    registry_algorithm_e *algorithm);

/*
 * REGISTRY_INVALID if the bytes are no digest at all, REGISTRY_UNSUPPORTED
 * if they are one of an algorithm that is neither sha256 nor sha512.
 */

registry_status_e registry_digest_parse(registry_str_t in,
    registry_digest_t *digest);

/* 1 if both are the same digest, else 0 */

int registry_digest_equal(const registry_digest_t *a,
    const registry_digest_t *b);


/* the hash itself, in bytes */

#define REGISTRY_HASH_MAX        64

/* 32 or 64 */

size_t registry_hash_len(registry_algorithm_e algorithm);

/* returns how many were written */

size_t registry_digest_bytes(const registry_digest_t *digest,
    unsigned char *bytes);

void registry_digest_set(registry_digest_t *digest,
    registry_algorithm_e algorithm, const unsigned char *bytes);


typedef struct {
    registry_algorithm_e  algorithm;
    uint64_t              length;       /* bytes hashed so far */

    union {
        SHA256_CTX        sha256;
        SHA512_CTX        sha512;
    } u;
} registry_hash_t;


void registry_hash_init(registry_hash_t *hash, registry_algorithm_e algorithm);
void registry_hash_update(registry_hash_t *hash, const void *data, size_t len);

/* the hash is spent afterwards */

void registry_hash_final(registry_hash_t *hash, registry_digest_t *digest);

/*
 * 1 if what was hashed so far has the digest that is expected, else 0;
 * actual is what it has.  The hash may go on.
 */

int registry_hash_is(const registry_hash_t *hash,
    const registry_digest_t *expected, registry_digest_t *actual);

/* the digest of len bytes at once */

void registry_hash_bytes(registry_algorithm_e algorithm, const void *data,
    size_t len, registry_digest_t *digest);


/*
 * A stored state is one line of text, independent of the machine and of
 * OpenSSL's version, with a checksum over itself:
 *
 *     registry-hash 1 sha256 <length> <hex of h[]> <hex of the partial block
 *     or "-"> <16 hex digits of the sha256 of the line so far>\n
 *
 * export returns the number of bytes written to buf, which must have room
 * for REGISTRY_HASH_STATE_MAX.  import refuses anything that export would not
 * have written, byte for byte.
 */

#define REGISTRY_HASH_STATE_MAX  512

size_t registry_hash_export(const registry_hash_t *hash, char *buf);
registry_status_e registry_hash_import(registry_str_t in,
    registry_hash_t *hash);


#endif /* REGISTRY_DIGEST_H */
