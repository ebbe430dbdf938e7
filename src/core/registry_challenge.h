
/*
 * What a registry asks for in WWW-Authenticate, and the URL of the token that
 * answers it: RFC 9110 section 11, RFC 6750 section 3, Distribution's "Token
 * Authentication Specification".
 */


#ifndef REGISTRY_CHALLENGE_H
#define REGISTRY_CHALLENGE_H


#include "registry_types.h"


#define REGISTRY_REALM_MAX    2048      /* bytes, each */
#define REGISTRY_SERVICE_MAX  512
#define REGISTRY_SCOPE_MAX    4096
#define REGISTRY_CHALLENGE_ERROR_MAX  128


typedef enum {
    REGISTRY_CHALLENGE_OTHER = 0,
    REGISTRY_CHALLENGE_BASIC,
    REGISTRY_CHALLENGE_BEARER
} registry_challenge_e;


/* terminated by a zero, empty if not given; no control character but tabs */

typedef struct {
    registry_challenge_e  scheme;
    char                  realm[REGISTRY_REALM_MAX + 1];
    char                  service[REGISTRY_SERVICE_MAX + 1];
    char                  scope[REGISTRY_SCOPE_MAX + 1];
    char                  error[REGISTRY_CHALLENGE_ERROR_MAX + 1];
} registry_challenge_t;


/*
 * Takes the next challenge off the value of a field, which may hold several.
 * REGISTRY_DECLINED at the end.  REGISTRY_INVALID if it does not follow the
 * grammar, a parameter is there twice, or one is too long: what follows in
 * the field is lost then.
 */

registry_status_e registry_challenge_next(registry_str_t *rest,
    registry_challenge_t *c);

/*
 * Writes a challenge as it stands in WWW-Authenticate: the realm, and what
 * else is not empty, quoted and escaped.  *len is its length; it is not
 * terminated.  REGISTRY_UNSUPPORTED for another scheme than Basic and Bearer;
 * REGISTRY_INVALID if it is longer than size, or would hold a control
 * character.
 */

registry_status_e registry_challenge_write(const registry_challenge_t *c,
    char *buf, size_t size, size_t *len);

/*
 * The URL to get a token from: the realm with "service" and one "scope" for
 * each, percent-encoded, behind whatever query it has.  An empty service is
 * left out; a scope that holds several, separated by spaces, is taken apart.
 * *len is its length; it is not terminated.  The realm is an absolute URL,
 * else the error is that of registry_url_resolve(); REGISTRY_INVALID if the
 * result is longer than size or REGISTRY_URL_MAX.
 */

registry_status_e registry_token_url(registry_str_t realm,
    registry_str_t service, const registry_str_t *scopes, size_t nscopes,
    char *buf, size_t size, size_t *len);


#endif /* REGISTRY_CHALLENGE_H */
