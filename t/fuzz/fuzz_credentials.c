
/*
 * Files of credentials, and what becomes of them in a header.  The first line
 * of the input is a host, the rest a file.
 */


#include <jansson.h>

#include "fuzz.h"
#include "registry_credentials.h"


/* "Basic ..." as "auth" of a config.json is the same user and password */

static void
check_config(const registry_credentials_t *c, const char *basic)
{
    char                    *text;
    json_t                  *root;
    const char              *reason;
    registry_str_t           host;
    registry_credentials_t   again;

    root = json_pack("{s:{s:{s:s}}}", "auths", "https://h:5000/v2/", "auth",
                     basic);
    fuzz_check(root != NULL);

    text = json_dumps(root, JSON_COMPACT);
    fuzz_check(text != NULL);
    json_decref(root);

    host = fuzz_text("H:5000");

    fuzz_check(registry_credentials_find(fuzz_text(text), &host, 1, &again,
                                         &reason)
               == REGISTRY_OK);
    fuzz_check(!again.identity && strcmp(again.user, c->user) == 0
               && strcmp(again.password, c->password) == 0);

    registry_credentials_free(&again);
    free(text);
}


static void
check_line(const registry_credentials_t *c)
{
    char                    *text;
    size_t                   n;
    const char              *reason;
    registry_credentials_t   again;

    if (strpbrk(c->user, "\n\r{") || strchr(c->password, '\n')
        || c->user[0] == '#')
    {
        return;
    }

    n = strlen(c->password);

    if (n && c->password[n - 1] == '\r') {
        return;
    }

    text = malloc(strlen(c->user) + n + 3);
    fuzz_check(text != NULL);
    sprintf(text, "%s:%s\n", c->user, c->password);

    fuzz_check(registry_credentials_find(fuzz_text(text), NULL, 0, &again,
                                         &reason)
               == REGISTRY_OK);
    fuzz_check(strcmp(again.user, c->user) == 0
               && strcmp(again.password, c->password) == 0);

    registry_credentials_free(&again);
    free(text);
}


static void
check_basic(const registry_credentials_t *c)
{
    char               *buf;
    size_t              size, len;
    registry_status_e   status;

    size = registry_basic_size(strlen(c->user), strlen(c->password));
    buf = malloc(size + 1);
    fuzz_check(buf != NULL);

    fuzz_check(registry_basic_value(fuzz_text(c->user),
                                    fuzz_text(c->password), buf, size - 1,
                                    &len)
               == REGISTRY_INVALID);

    status = registry_basic_value(fuzz_text(c->user), fuzz_text(c->password),
                                  buf, size, &len);
    fuzz_check(status == REGISTRY_OK && len == size);

    buf[len] = '\0';
    fuzz_check(strspn(buf + 6, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                               "uvwxyz0123456789+/=")
               == len - 6);

    if (!c->identity) {
        check_config(c, buf + 6);
        check_line(c);
    }

    free(buf);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char              *reason;
    registry_str_t           text, hosts[2];
    registry_status_e        status;
    registry_credentials_t   c;

    text = fuzz_str(data, size);
    hosts[0] = fuzz_line(&text);
    hosts[1] = fuzz_text("h");

    reason = NULL;
    status = registry_credentials_find(text, hosts, 2, &c, &reason);

    if (status != REGISTRY_OK) {
        fuzz_check(status == REGISTRY_INVALID
                   || status == REGISTRY_DECLINED
                   || status == REGISTRY_UNSUPPORTED);
        fuzz_check(reason != NULL && reason[0] != '\0');
        return 0;
    }

    fuzz_check(strlen(c.user) <= REGISTRY_CREDENTIAL_MAX);
    fuzz_check(strlen(c.password) <= REGISTRY_CREDENTIAL_MAX);
    fuzz_check(strchr(c.user, ':') == NULL);
    fuzz_check(c.identity || c.user[0] != '\0');

    check_basic(&c);

    registry_credentials_free(&c);
    fuzz_check(c.user == NULL && c.password == NULL);

    return 0;
}
