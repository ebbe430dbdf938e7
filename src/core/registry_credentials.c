
/*
 * Credentials as files have them and as a header carries them.  There is no
 * interpolation: names of robot accounts hold "$".
 */


#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "registry_credentials.h"
#include "registry_json.h"


static registry_status_e registry_credentials_line(registry_str_t text,
    registry_credentials_t *out, const char **reason);
static registry_status_e registry_credentials_json(registry_str_t text,
    const registry_str_t *hosts, size_t n, registry_credentials_t *out,
    const char **reason);
static registry_status_e registry_credentials_host(json_t *root,
    registry_str_t host, registry_credentials_t *out, const char **reason);
static json_t *registry_credentials_member(json_t *object,
    registry_str_t host);
static registry_str_t registry_credentials_key(registry_str_t key);
static registry_status_e registry_credentials_entry(const json_t *entry,
    registry_credentials_t *out, const char **reason);
static int registry_credentials_text(const json_t *entry, const char *name,
    registry_str_t *text);
static registry_status_e registry_credentials_auth(registry_str_t auth,
    registry_str_t identity, registry_credentials_t *out,
    const char **reason);
static int registry_credentials_split(registry_str_t pair,
    registry_str_t *user, registry_str_t *password);
static registry_status_e registry_credentials_set(registry_str_t user,
    registry_str_t password, int identity, registry_credentials_t *out,
    const char **reason);
static int registry_credentials_valid(registry_str_t text);
static char *registry_credentials_copy(registry_str_t text);
static void registry_credentials_wipe(char *text);
static int registry_base64_decode(registry_str_t in, char *buf, size_t *len);
static int registry_base64_value(char c);
static unsigned registry_basic_byte(registry_str_t user,
    registry_str_t password, size_t i);


registry_status_e
registry_credentials_find(registry_str_t text, const registry_str_t *hosts,
    size_t n, registry_credentials_t *out, const char **reason)
{
    size_t  i;

    if (text.len > REGISTRY_CREDENTIALS_FILE_MAX) {
        *reason = "the file is too large";
        return REGISTRY_INVALID;
    }

    for (i = 0; i < text.len; i++) {

        if (text.data[i] == '{') {
            return registry_credentials_json(text, hosts, n, out, reason);
        }

        if (text.data[i] == '\0' || strchr(" \t\r\n", text.data[i]) == NULL) {
            break;
        }
    }

    return registry_credentials_line(text, out, reason);
}


void
registry_credentials_free(registry_credentials_t *credentials)
{
    registry_credentials_wipe(credentials->user);
    registry_credentials_wipe(credentials->password);

    credentials->user = NULL;
    credentials->password = NULL;
}


registry_status_e
registry_basic_value(registry_str_t user, registry_str_t password, char *buf,
    size_t size, size_t *len)
{
    char              *p;
    size_t             i, n;
    unsigned           bits;
    static const char  scheme[] = "Basic ";
    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789+/";

    if (size < registry_basic_size(user.len, password.len)
        || (user.len != 0 && memchr(user.data, ':', user.len) != NULL))
    {
        return REGISTRY_INVALID;
    }

    memcpy(buf, scheme, sizeof(scheme) - 1);
    p = buf + sizeof(scheme) - 1;

    n = user.len + 1 + password.len;

    for (i = 0; i < n; i += 3) {
        bits = registry_basic_byte(user, password, i) << 16
               | registry_basic_byte(user, password, i + 1) << 8
               | registry_basic_byte(user, password, i + 2);

        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 0x3f];
        *p++ = i + 1 < n ? digits[bits >> 6 & 0x3f] : '=';
        *p++ = i + 2 < n ? digits[bits & 0x3f] : '=';
    }

    *len = (size_t) (p - buf);

    return REGISTRY_OK;
}


static registry_status_e
registry_credentials_line(registry_str_t text, registry_credentials_t *out,
    const char **reason)
{
    const char      *p;
    registry_str_t   line, user, password;

    while (text.len != 0) {
        p = memchr(text.data, '\n', text.len);

        line.data = text.data;
        line.len = p ? (size_t) (p - text.data) : text.len;

        text.data += line.len;
        text.len -= line.len;

        if (p != NULL) {
            text.data++;
            text.len--;
        }

        if (line.len != 0 && line.data[line.len - 1] == '\r') {
            line.len--;
        }

        if (line.len == 0 || line.data[0] == '#') {
            continue;
        }

        if (!registry_credentials_split(line, &user, &password)) {
            *reason = "the line is not \"user:password\"";
            return REGISTRY_INVALID;
        }

        return registry_credentials_set(user, password, 0, out, reason);
    }

    *reason = "there is no \"user:password\" in the file";

    return REGISTRY_DECLINED;
}


static registry_status_e
registry_credentials_json(registry_str_t text, const registry_str_t *hosts,
    size_t n, registry_credentials_t *out, const char **reason)
{
    json_t             *root, *auths, *helpers;
    size_t              i;
    registry_status_e   status;

    status = registry_json_load(text, JSON_REJECT_DUPLICATES, &root, reason);
    if (status != REGISTRY_OK) {
        return status;
    }

    auths = registry_json_member(root, "auths");
    helpers = registry_json_member(root, "credHelpers");

    if ((auths != NULL && !json_is_object(auths))
        || (helpers != NULL && !json_is_object(helpers)))
    {
        *reason = "\"auths\" or \"credHelpers\" is not an object";
        status = REGISTRY_INVALID;
        goto done;
    }

    status = REGISTRY_DECLINED;

    for (i = 0; i < n && status == REGISTRY_DECLINED; i++) {
        status = registry_credentials_host(root, hosts[i], out, reason);
    }

    if (status != REGISTRY_DECLINED) {
        goto done;
    }

    *reason = "there is no entry for the host";

    if (registry_json_text(json_object_get(root, "credsStore")).len != 0) {
        *reason = "a helper program has the credentials (\"credsStore\")";
        status = REGISTRY_UNSUPPORTED;
    }

done:

    json_decref(root);

    return status;
}


/* a helper that is named for the host goes before an entry, as with docker */

static registry_status_e
registry_credentials_host(json_t *root, registry_str_t host,
    registry_credentials_t *out, const char **reason)
{
    json_t  *json;

    json = registry_credentials_member(json_object_get(root, "credHelpers"),
                                       host);

    if (json != NULL) {
        *reason = "a helper program has the credentials (\"credHelpers\")";
        return REGISTRY_UNSUPPORTED;
    }

    json = registry_credentials_member(json_object_get(root, "auths"), host);

    return json ? registry_credentials_entry(json, out, reason)
                : REGISTRY_DECLINED;
}


static json_t *
registry_credentials_member(json_t *object, registry_str_t host)
{
    json_t          *value;
    const char      *name;
    registry_str_t   key;

    host = registry_credentials_key(host);

    json_object_foreach(object, name, value) {
        key.data = name;
        key.len = strlen(name);
        key = registry_credentials_key(key);

        if (key.len == host.len && key.len != 0
            && strncasecmp(key.data, host.data, key.len) == 0)
        {
            return value;
        }
    }

    return NULL;
}


/* the host, and a path that is not only the API's */

static registry_str_t
registry_credentials_key(registry_str_t key)
{
    size_t                    i, len;
    static const char *const  schemes[] = { "https://", "http://" };
    static const char *const  endings[] = { "/", "/v1", "/v2", "/" };

    for (i = 0; i < 2; i++) {
        len = strlen(schemes[i]);

        if (key.len >= len && strncasecmp(key.data, schemes[i], len) == 0) {
            key.data += len;
            key.len -= len;
            break;
        }
    }

    for (i = 0; i < 4; i++) {
        len = strlen(endings[i]);

        if (key.len >= len
            && memcmp(key.data + key.len - len, endings[i], len) == 0)
        {
            key.len -= len;
        }
    }

    return key;
}


static registry_status_e
registry_credentials_entry(const json_t *entry, registry_credentials_t *out,
    const char **reason)
{
    registry_str_t  auth, identity, user, password;

    if (!json_is_object(entry)
        || !registry_credentials_text(entry, "auth", &auth)
        || !registry_credentials_text(entry, "identitytoken", &identity)
        || !registry_credentials_text(entry, "username", &user)
        || !registry_credentials_text(entry, "password", &password))
    {
        *reason = "an entry of \"auths\" is malformed";
        return REGISTRY_INVALID;
    }

    if (auth.len != 0) {
        return registry_credentials_auth(auth, identity, out, reason);
    }

    if (identity.len != 0) {
        return registry_credentials_set(user, identity, 1, out, reason);
    }

    return user.len == 0 ? REGISTRY_DECLINED
                         : registry_credentials_set(user, password, 0, out,
                                                    reason);
}


/* empty if there is none; 0 is returned if it is no string */

static int
registry_credentials_text(const json_t *entry, const char *name,
    registry_str_t *text)
{
    const json_t  *json;

    json = registry_json_member(entry, name);
    *text = registry_json_text(json);

    return json == NULL || json_is_string(json);
}


static registry_status_e
registry_credentials_auth(registry_str_t auth, registry_str_t identity,
    registry_credentials_t *out, const char **reason)
{
    char               *buf;
    registry_str_t      pair, user, password;
    registry_status_e   status;

    buf = malloc(auth.len);
    if (buf == NULL) {
        return REGISTRY_NOMEM;
    }

    pair.data = buf;
    pair.len = 0;

    if (!registry_base64_decode(auth, buf, &pair.len)
        || !registry_credentials_split(pair, &user, &password))
    {
        *reason = "\"auth\" is not \"user:password\" in base64";
        status = REGISTRY_INVALID;
        goto done;
    }

    /* some helpers have padded it with zeros; docker takes them off as well */

    while (password.len != 0 && password.data[password.len - 1] == '\0') {
        password.len--;
    }

    status = registry_credentials_set(user, identity.len ? identity : password,
                                      identity.len != 0, out, reason);

done:

    OPENSSL_cleanse(buf, auth.len);
    free(buf);

    return status;
}


static int
registry_credentials_split(registry_str_t pair, registry_str_t *user,
    registry_str_t *password)
{
    const char  *p;

    p = pair.len ? memchr(pair.data, ':', pair.len) : NULL;

    if (p == NULL) {
        return 0;
    }

    user->data = pair.data;
    user->len = (size_t) (p - pair.data);

    password->data = p + 1;
    password->len = pair.len - user->len - 1;

    return 1;
}


static registry_status_e
registry_credentials_set(registry_str_t user, registry_str_t password,
    int identity, registry_credentials_t *out, const char **reason)
{
    registry_credentials_t  c;

    if ((user.len == 0 && !identity)
        || !registry_credentials_valid(user)
        || !registry_credentials_valid(password)
        || (user.len != 0 && memchr(user.data, ':', user.len) != NULL))
    {
        *reason = "the user or the password is malformed or too long";
        return REGISTRY_INVALID;
    }

    c.identity = identity ? 1 : 0;
    c.user = registry_credentials_copy(user);
    c.password = registry_credentials_copy(password);

    if (c.user == NULL || c.password == NULL) {
        registry_credentials_free(&c);
        return REGISTRY_NOMEM;
    }

    *out = c;

    return REGISTRY_OK;
}


static int
registry_credentials_valid(registry_str_t text)
{
    return text.len <= REGISTRY_CREDENTIAL_MAX
           && (text.len == 0 || memchr(text.data, '\0', text.len) == NULL);
}


static char *
registry_credentials_copy(registry_str_t text)
{
    char  *copy;

    copy = malloc(text.len + 1);
    if (copy == NULL) {
        return NULL;
    }

    if (text.len != 0) {
        memcpy(copy, text.data, text.len);
    }

    copy[text.len] = '\0';

    return copy;
}


static void
registry_credentials_wipe(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}


/* RFC 4648 section 4; the padding may be missing.  buf is as long as in */

static int
registry_base64_decode(registry_str_t in, char *buf, size_t *len)
{
    int       value;
    size_t    i, n, padding;
    unsigned  bits;

    for (padding = 0; padding < 2 && in.len != 0; padding++) {

        if (in.data[in.len - 1] != '=') {
            break;
        }

        in.len--;
    }

    if (in.len % 4 == 1 || (padding != 0 && (in.len + padding) % 4 != 0)) {
        return 0;
    }

    n = 0;
    bits = 0;

    for (i = 0; i < in.len; i++) {
        value = registry_base64_value(in.data[i]);

        if (value == -1) {
            return 0;
        }

        bits = bits << 6 | (unsigned) value;

        if (i % 4 != 0) {
            buf[n++] = (char) (bits >> (6 - 2 * (i % 4)) & 0xff);
        }
    }

    *len = n;

    return 1;
}


static int
registry_base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return c == '+' ? 62 : c == '/' ? 63 : -1;
}


/* of "user:password", and zero behind it */

static unsigned
registry_basic_byte(registry_str_t user, registry_str_t password, size_t i)
{
    if (i < user.len) {
        return (unsigned char) user.data[i];
    }

    if (i == user.len) {
        return ':';
    }

    i -= user.len + 1;

    return i < password.len ? (unsigned char) password.data[i] : 0;
}
