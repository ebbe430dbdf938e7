
/*
 * WWW-Authenticate, read and written, and the URL of a token.  Whom to send
 * which credentials is for the caller to decide.
 */


#include <string.h>
#include <strings.h>

#include "registry_challenge.h"
#include "registry_query.h"
#include "registry_url.h"


typedef struct {
    const char  *name;
    size_t       offset;                /* in registry_challenge_t */
    size_t       max;
} registry_challenge_param_t;


static const registry_challenge_param_t  registry_challenge_params[] = {
    { "realm", offsetof(registry_challenge_t, realm), REGISTRY_REALM_MAX },
    { "service", offsetof(registry_challenge_t, service),
      REGISTRY_SERVICE_MAX },
    { "scope", offsetof(registry_challenge_t, scope), REGISTRY_SCOPE_MAX },
    { "error", offsetof(registry_challenge_t, error),
      REGISTRY_CHALLENGE_ERROR_MAX }
};

#define REGISTRY_CHALLENGE_PARAMS                                             \
    (sizeof(registry_challenge_params) / sizeof(registry_challenge_params[0]))


/* in the order of registry_challenge_e, the first has no name of its own */

static const char *const  registry_challenge_schemes[] = {
    "", "Basic", "Bearer"
};


/* where it is written, and the end of the room */

typedef struct {
    char        *p;
    char        *end;
} registry_challenge_out_t;


static int registry_challenge_read(registry_str_t *rest,
    registry_challenge_t *c);
static int registry_challenge_read_params(registry_str_t *rest,
    registry_challenge_t *c);
static int registry_challenge_param(registry_str_t *rest,
    registry_str_t name, registry_challenge_t *c, unsigned *seen);
static int registry_challenge_value(registry_str_t *rest, char *buf,
    size_t max);
static registry_challenge_e registry_challenge_scheme(registry_str_t name);
static int registry_challenge_token68(registry_str_t *rest);
static registry_str_t registry_challenge_token(registry_str_t *rest);
static int registry_challenge_spaces(registry_str_t *rest);
static void registry_challenge_separators(registry_str_t *rest);
static int registry_challenge_at_end(registry_str_t rest);
static int registry_challenge_same(registry_str_t s, const char *text);
static int registry_challenge_put(registry_challenge_out_t *out, char c);
static int registry_challenge_text(registry_challenge_out_t *out,
    const char *text);
static int registry_challenge_quote(registry_challenge_out_t *out,
    const char *text);
static int registry_token_param(registry_challenge_out_t *out, char *joint,
    const char *name, registry_str_t value);
static int registry_token_scopes(registry_challenge_out_t *out, char *joint,
    registry_str_t scopes);


registry_status_e
registry_challenge_next(registry_str_t *rest, registry_challenge_t *c)
{
    size_t                             i;
    const registry_challenge_param_t  *param;

    registry_challenge_separators(rest);

    if (rest->len == 0) {
        return REGISTRY_DECLINED;
    }

    for (i = 0; i < REGISTRY_CHALLENGE_PARAMS; i++) {
        param = &registry_challenge_params[i];
        *((char *) c + param->offset) = '\0';
    }

    if (!registry_challenge_read(rest, c)) {
        rest->len = 0;
        return REGISTRY_INVALID;
    }

    return REGISTRY_OK;
}


registry_status_e
registry_challenge_write(const registry_challenge_t *c, char *buf,
    size_t size, size_t *len)
{
    size_t                             i;
    const char                        *value;
    registry_challenge_out_t           out;
    const registry_challenge_param_t  *param;

    if (c->scheme == REGISTRY_CHALLENGE_OTHER) {
        return REGISTRY_UNSUPPORTED;
    }

    out.p = buf;
    out.end = buf + size;

    if (!registry_challenge_text(&out, registry_challenge_schemes[c->scheme]))
    {
        return REGISTRY_INVALID;
    }

    for (i = 0; i < REGISTRY_CHALLENGE_PARAMS; i++) {
        param = &registry_challenge_params[i];
        value = (const char *) c + param->offset;

        if (i != 0 && *value == '\0') {
            continue;
        }

        if (!registry_challenge_put(&out, i == 0 ? ' ' : ',')
            || !registry_challenge_text(&out, param->name)
            || !registry_challenge_put(&out, '=')
            || !registry_challenge_quote(&out, value))
        {
            return REGISTRY_INVALID;
        }
    }

    *len = (size_t) (out.p - buf);

    return REGISTRY_OK;
}


registry_status_e
registry_token_url(registry_str_t realm, registry_str_t service,
    const registry_str_t *scopes, size_t nscopes, char *buf, size_t size,
    size_t *len)
{
    char                      joint;
    size_t                    i;
    registry_url_t            url;
    registry_status_e         status;
    registry_challenge_out_t  out;

    if (size > REGISTRY_URL_MAX) {
        size = REGISTRY_URL_MAX;
    }

    status = registry_url_resolve(NULL, realm, buf, size, &url);
    if (status != REGISTRY_OK) {
        return status;
    }

    joint = memchr(url.path.data, '?', url.path.len) ? '&' : '?';

    out.p = buf + (url.path.data + url.path.len - buf);
    out.end = buf + size;

    if (service.len != 0
        && !registry_token_param(&out, &joint, "service", service))
    {
        return REGISTRY_INVALID;
    }

    for (i = 0; i < nscopes; i++) {
        if (!registry_token_scopes(&out, &joint, scopes[i])) {
            return REGISTRY_INVALID;
        }
    }

    *len = (size_t) (out.p - buf);

    return REGISTRY_OK;
}


static int
registry_challenge_read(registry_str_t *rest, registry_challenge_t *c)
{
    registry_str_t  name;

    name = registry_challenge_token(rest);

    if (name.len == 0) {
        return 0;
    }

    c->scheme = registry_challenge_scheme(name);

    if (!registry_challenge_spaces(rest) || registry_challenge_at_end(*rest)) {
        return registry_challenge_at_end(*rest);
    }

    if (registry_challenge_token68(rest)) {
        return 1;
    }

    return registry_challenge_read_params(rest, c);
}


/*
 * After a comma, a name without "=" is the scheme of the next challenge; this
 * is left to the next call.
 */

static int
registry_challenge_read_params(registry_str_t *rest, registry_challenge_t *c)
{
    int             comma;
    unsigned        seen;
    registry_str_t  name, before;

    seen = 0;
    comma = 0;

    while (rest->len != 0) {
        before = *rest;
        name = registry_challenge_token(rest);
        (void) registry_challenge_spaces(rest);

        if (name.len == 0) {
            return 0;
        }

        if (rest->len == 0 || rest->data[0] != '=') {
            *rest = before;
            return comma;
        }

        rest->data++;
        rest->len--;
        (void) registry_challenge_spaces(rest);

        if (!registry_challenge_param(rest, name, c, &seen)) {
            return 0;
        }

        (void) registry_challenge_spaces(rest);

        if (!registry_challenge_at_end(*rest)) {
            return 0;
        }

        registry_challenge_separators(rest);
        comma = 1;
    }

    return 1;
}


static int
registry_challenge_param(registry_str_t *rest, registry_str_t name,
    registry_challenge_t *c, unsigned *seen)
{
    size_t                             i;
    const registry_challenge_param_t  *param;

    for (i = 0; i < REGISTRY_CHALLENGE_PARAMS; i++) {
        param = &registry_challenge_params[i];

        if (!registry_challenge_same(name, param->name)) {
            continue;
        }

        if (*seen & 1u << i) {
            return 0;
        }

        *seen |= 1u << i;

        return registry_challenge_value(rest, (char *) c + param->offset,
                                        param->max);
    }

    return registry_challenge_value(rest, NULL, 0);
}


/* a token or a quoted string, unescaped to buf unless that is NULL */

static int
registry_challenge_value(registry_str_t *rest, char *buf, size_t max)
{
    char            c;
    size_t          n;
    registry_str_t  token;

    if (rest->len == 0 || rest->data[0] != '"') {
        token = registry_challenge_token(rest);

        if (token.len == 0 || (buf != NULL && token.len > max)) {
            return 0;
        }

        if (buf != NULL) {
            memcpy(buf, token.data, token.len);
            buf[token.len] = '\0';
        }

        return 1;
    }

    n = 0;

    for ( ;; ) {
        rest->data++;
        rest->len--;

        if (rest->len == 0) {
            return 0;
        }

        c = rest->data[0];

        if (c == '"') {
            break;
        }

        if (c == '\\' && rest->len > 1) {
            rest->data++;
            rest->len--;
            c = rest->data[0];
        }

        if (((unsigned char) c < 0x20 && c != '\t') || c == 0x7f) {
            return 0;
        }

        if (buf == NULL) {
            continue;
        }

        if (n == max) {
            return 0;
        }

        buf[n++] = c;
    }

    rest->data++;
    rest->len--;

    if (buf != NULL) {
        buf[n] = '\0';
    }

    return 1;
}


static registry_challenge_e
registry_challenge_scheme(registry_str_t name)
{
    if (registry_challenge_same(name, "basic")) {
        return REGISTRY_CHALLENGE_BASIC;
    }

    if (registry_challenge_same(name, "bearer")) {
        return REGISTRY_CHALLENGE_BEARER;
    }

    return REGISTRY_CHALLENGE_OTHER;
}


/* passes over what some schemes have instead of parameters, if it is that */

static int
registry_challenge_token68(registry_str_t *rest)
{
    char            c;
    registry_str_t  in;

    in = *rest;

    while (in.len != 0) {
        c = in.data[0];

        if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
            && (c < '0' || c > '9')
            && (c == '\0' || strchr("-._~+/", c) == NULL))
        {
            break;
        }

        in.data++;
        in.len--;
    }

    if (in.len == rest->len) {
        return 0;
    }

    while (in.len != 0 && in.data[0] == '=') {
        in.data++;
        in.len--;
    }

    (void) registry_challenge_spaces(&in);

    if (!registry_challenge_at_end(in)) {
        return 0;
    }

    *rest = in;

    return 1;
}


/* takes a token off the front, empty if there is none */

static registry_str_t
registry_challenge_token(registry_str_t *rest)
{
    char            c;
    registry_str_t  token;

    token.data = rest->data;
    token.len = 0;

    while (rest->len != 0) {
        c = rest->data[0];

        if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
            && (c < '0' || c > '9')
            && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
        {
            break;
        }

        rest->data++;
        rest->len--;
        token.len++;
    }

    return token;
}


/* whether there were any */

static int
registry_challenge_spaces(registry_str_t *rest)
{
    size_t  len;

    len = rest->len;

    while (rest->len != 0
           && (rest->data[0] == ' ' || rest->data[0] == '\t'))
    {
        rest->data++;
        rest->len--;
    }

    return rest->len != len;
}


/* a list may have empty elements: RFC 9110 section 5.6.1.2 */

static void
registry_challenge_separators(registry_str_t *rest)
{
    while (rest->len != 0
           && (rest->data[0] == ' ' || rest->data[0] == '\t'
               || rest->data[0] == ','))
    {
        rest->data++;
        rest->len--;
    }
}


static int
registry_challenge_at_end(registry_str_t rest)
{
    return rest.len == 0 || rest.data[0] == ',';
}


static int
registry_challenge_same(registry_str_t s, const char *text)
{
    return s.len == strlen(text) && strncasecmp(s.data, text, s.len) == 0;
}


static int
registry_challenge_put(registry_challenge_out_t *out, char c)
{
    if (out->p == out->end) {
        return 0;
    }

    *out->p++ = c;

    return 1;
}


static int
registry_challenge_text(registry_challenge_out_t *out, const char *text)
{
    for ( /* void */ ; *text != '\0'; text++) {
        if (!registry_challenge_put(out, *text)) {
            return 0;
        }
    }

    return 1;
}


static int
registry_challenge_quote(registry_challenge_out_t *out, const char *text)
{
    if (!registry_challenge_put(out, '"')) {
        return 0;
    }

    for ( /* void */ ; *text != '\0'; text++) {

        if (((unsigned char) *text < 0x20 && *text != '\t') || *text == 0x7f) {
            return 0;
        }

        if ((*text == '"' || *text == '\\')
            && !registry_challenge_put(out, '\\'))
        {
            return 0;
        }

        if (!registry_challenge_put(out, *text)) {
            return 0;
        }
    }

    return registry_challenge_put(out, '"');
}


/* joined to what is there with "?" for the first, "&" for the others */

static int
registry_token_param(registry_challenge_out_t *out, char *joint,
    const char *name, registry_str_t value)
{
    char            byte[3];
    size_t          i, k, n;
    registry_str_t  one;

    if (!registry_challenge_put(out, *joint)
        || !registry_challenge_text(out, name)
        || !registry_challenge_put(out, '='))
    {
        return 0;
    }

    *joint = '&';

    for (i = 0; i < value.len; i++) {
        one.data = value.data + i;
        one.len = 1;

        n = registry_query_encode(one, byte);

        for (k = 0; k < n; k++) {
            if (!registry_challenge_put(out, byte[k])) {
                return 0;
            }
        }
    }

    return 1;
}


/* one parameter for each of the scopes that spaces separate */

static int
registry_token_scopes(registry_challenge_out_t *out, char *joint,
    registry_str_t scopes)
{
    size_t          n;
    registry_str_t  scope;

    while (scopes.len != 0) {

        for (n = 0; n < scopes.len && scopes.data[n] != ' '; n++) {
            /* void */
        }

        scope.data = scopes.data;
        scope.len = n;

        if (n != 0 && !registry_token_param(out, joint, "scope", scope)) {
            return 0;
        }

        if (n < scopes.len) {
            n++;
        }

        scopes.data += n;
        scopes.len -= n;
    }

    return 1;
}
