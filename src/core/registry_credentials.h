
/*
 * Files with the name and password for other registries: "user:password", or
 * the config.json of docker (auth.json of podman).  Reading the file is left
 * to the caller.
 */


#ifndef REGISTRY_CREDENTIALS_H
#define REGISTRY_CREDENTIALS_H


#include "registry_types.h"


#define REGISTRY_CREDENTIALS_FILE_MAX  262144   /* bytes */
#define REGISTRY_CREDENTIAL_MAX        16384    /* bytes, user or password */


typedef struct {
    char      *user;                    /* both terminated by a zero */
    char      *password;
    unsigned   identity:1;              /* the password is a refresh token */
} registry_credentials_t;


/*
 * A text that begins with "{", or white space and "{", is a config.json.  Of
 * any other text the first line counts that is neither empty nor begins with
 * "#": a user, ":", and a password up to the end of the line, whatever it
 * holds; it is for any host.
 *
 * In a config.json a key of "auths" means a host, host:port or host/path,
 * without regard to case, to the scheme, and to "/", "/v1/" or "/v2/" in its
 * end; so does a host in the list.  The first host of the list that has an
 * entry with something in it is taken.  In an entry, "auth" in base64 goes
 * before "username" and "password", and "identitytoken" is the password if it
 * is there; the user may be empty then, else not.
 *
 * user and password are malloc()ed, to be freed with
 * registry_credentials_free(); out is not touched unless REGISTRY_OK is
 * returned.  *reason is a static text unless REGISTRY_OK or REGISTRY_NOMEM is
 * returned.  REGISTRY_DECLINED if there is nothing for these hosts,
 * REGISTRY_UNSUPPORTED if a helper program has it ("credHelpers" for a host
 * that was come to, "credsStore" if no host had an entry), REGISTRY_INVALID
 * if the text is broken or larger than REGISTRY_CREDENTIALS_FILE_MAX.
 */

registry_status_e registry_credentials_find(registry_str_t text,
    const registry_str_t *hosts, size_t n, registry_credentials_t *out,
    const char **reason);

/* wipes them and frees them; does nothing the second time */

void registry_credentials_free(registry_credentials_t *credentials);


/*
 * "Basic <base64>" for Authorization and Proxy-Authorization, RFC 7617;
 * registry_basic_size() is the room that it takes, *len its length.  It is
 * not terminated.  REGISTRY_INVALID if it is longer than size, or the user
 * holds a ":".
 */

#define registry_basic_size(user_len, password_len)                           \
    (sizeof("Basic ") - 1 + ((user_len) + 1 + (password_len) + 2) / 3 * 4)

registry_status_e registry_basic_value(registry_str_t user,
    registry_str_t password, char *buf, size_t size, size_t *len);


#endif /* REGISTRY_CREDENTIALS_H */
