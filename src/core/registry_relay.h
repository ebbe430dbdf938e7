
/*
 * Upload sessions that are another registry's: where it wants the next
 * request, in the Location that our client gets, so that no state need be
 * kept.  A checksum under a key of ours keeps a client from making one up.
 */


#ifndef REGISTRY_RELAY_H
#define REGISTRY_RELAY_H


#include "registry_types.h"


#define REGISTRY_RELAY_KEY   32         /* bytes, random */
#define REGISTRY_RELAY_MAX   4096       /* bytes, of a session as text */


/*
 * Writes the session of a repository: the peer that has it and the path with
 * the query, none of which holds a zero.  The text, *len bytes of letters,
 * digits, "-", "_" and ".", goes to buf, which has room for
 * REGISTRY_RELAY_MAX.  REGISTRY_INVALID if it does not fit.
 */

registry_status_e registry_relay_write(
    const unsigned char key[REGISTRY_RELAY_KEY], registry_str_t repository,
    registry_str_t peer, registry_str_t path, char *buf, size_t *len);

/*
 * Reads it: peer and path point into buf, which has room for
 * REGISTRY_RELAY_MAX.  REGISTRY_INVALID if it was not written with this key
 * for this repository.
 */

registry_status_e registry_relay_read(
    const unsigned char key[REGISTRY_RELAY_KEY], registry_str_t repository,
    registry_str_t text, char *buf, registry_str_t *peer,
    registry_str_t *path);


#endif /* REGISTRY_RELAY_H */
