
/*
 * The document that a token service answers with: Distribution's "Token
 * Authentication Specification", "Requesting a Token".
 */


#ifndef REGISTRY_TOKEN_H
#define REGISTRY_TOKEN_H


#include "registry_types.h"


#define REGISTRY_TOKEN_DOCUMENT_MAX  65536      /* bytes */
#define REGISTRY_TOKEN_MAX           32768      /* bytes */

#define REGISTRY_TOKEN_LIFE_DEFAULT  60         /* seconds */
#define REGISTRY_TOKEN_LIFE_MAX      86400      /* seconds */


typedef struct {
    char     *text;             /* terminated by a zero */
    size_t    len;
    int64_t   expires_in;       /* seconds from when it came, at least 1 */
} registry_token_t;


/*
 * "token", or else "access_token".  "expires_in" is a number of seconds, also
 * a fraction, which is cut off: less than 1, or none at all, stands for
 * REGISTRY_TOKEN_LIFE_DEFAULT, more than REGISTRY_TOKEN_LIFE_MAX for that.
 * "issued_at" is ignored: the life of a token counts from when it came, so
 * that clocks need not agree.
 *
 * The text is malloc()ed, to be freed with registry_token_free(); the token
 * is not touched unless REGISTRY_OK is returned.
 *
 * REGISTRY_DECLINED if there is no token, or it is empty or no string.
 * REGISTRY_INVALID if the document is no JSON object, too large or nested too
 * deeply, has a member twice, or the token is longer than REGISTRY_TOKEN_MAX
 * or holds anything but visible ASCII.  REGISTRY_NOMEM if memory is short.
 */

registry_status_e registry_token_parse(registry_str_t json,
    registry_token_t *token);

/* wipes the text and frees it; does nothing the second time */

void registry_token_free(registry_token_t *token);


#endif /* REGISTRY_TOKEN_H */
