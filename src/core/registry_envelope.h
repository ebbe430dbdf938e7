
/*
 * What is kept in a cache that anybody in the network may write to.  A
 * manifest proves itself by its digest; a tag by a MAC under a secret that
 * those who share the cache have in common.
 */


#ifndef REGISTRY_ENVELOPE_H
#define REGISTRY_ENVELOPE_H


#include "registry_digest.h"
#include "registry_types.h"


#define REGISTRY_ENVELOPE_SECRET_MIN  16    /* bytes */
#define REGISTRY_ENVELOPE_SKEW        5     /* seconds between two clocks */


/*
 * A manifest: a line, then its bytes.
 *
 *     registry-manifest 1\n
 *
 * Its media type is not kept, since nothing would prove it: it is what the
 * bytes say by themselves, as registry_media_type() finds it.
 */

#define REGISTRY_ENVELOPE_MANIFEST      "registry-manifest 1\n"
#define REGISTRY_ENVELOPE_MANIFEST_LEN                                        \
    (sizeof(REGISTRY_ENVELOPE_MANIFEST) - 1)

/*
 * Writes what comes before the bytes, REGISTRY_ENVELOPE_MANIFEST_LEN bytes,
 * to buf.  REGISTRY_UNSUPPORTED if the bytes do not say of themselves that
 * they are of this media type; REGISTRY_INVALID if they are no JSON object,
 * or larger than REGISTRY_MANIFEST_MAX; REGISTRY_NOMEM.
 */

registry_status_e registry_envelope_manifest_encode(registry_str_t bytes,
    registry_str_t media_type, char *buf);

/*
 * REGISTRY_INVALID unless "in" has the manifest of that digest; then *bytes
 * points into it, and media_type, which has room for
 * REGISTRY_MEDIA_TYPE_MAX + 1 bytes, is zero terminated.  REGISTRY_NOMEM.
 */

registry_status_e registry_envelope_manifest_decode(registry_str_t in,
    const registry_digest_t *digest, registry_str_t *bytes, char *media_type);


/*
 * A tag: a line.
 *
 *     registry-tag 1 <time> <digest> <64 hex digits of the MAC>\n
 *
 * The time, in seconds since the epoch, is when it was last known to be true.
 * The MAC is HMAC-SHA256 (RFC 2104) of the line so far, up to the space after
 * the digest, and the hex digits of the SHA-256 of the key; so neither is a
 * value believed under another key, nor an old one longer than a new one.
 */

#define REGISTRY_ENVELOPE_TAG_MAX  256      /* bytes */

/*
 * Writes at most REGISTRY_ENVELOPE_TAG_MAX bytes to buf, and how many to
 * *len.  REGISTRY_NOMEM.  The key is any bytes; the caller sees to it that
 * the secret has at least REGISTRY_ENVELOPE_SECRET_MIN.
 */

registry_status_e registry_envelope_tag_encode(
    const registry_digest_t *digest, uint64_t time, registry_str_t key,
    registry_str_t secret, char *buf, size_t *len);

/*
 * REGISTRY_INVALID for anything that was not written by
 * registry_envelope_tag_encode() with this key and secret, or from more than
 * REGISTRY_ENVELOPE_SKEW seconds after now.  How old is too old is for the
 * caller to say.  REGISTRY_NOMEM.
 */

registry_status_e registry_envelope_tag_decode(registry_str_t in,
    registry_str_t key, registry_str_t secret, uint64_t now,
    registry_digest_t *digest, uint64_t *time);


#endif /* REGISTRY_ENVELOPE_H */
