
/*
 * The document of a token service.
 */


#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "registry_json.h"
#include "registry_token.h"


static int registry_token_valid(registry_str_t text);
static int64_t registry_token_life(const json_t *json);


registry_status_e
registry_token_parse(registry_str_t json, registry_token_t *token)
{
    char               *copy;
    json_t             *root;
    const char         *reason;
    registry_str_t      text;
    registry_status_e   status;

    if (json.len > REGISTRY_TOKEN_DOCUMENT_MAX) {
        return REGISTRY_INVALID;
    }

    status = registry_json_load(json, JSON_REJECT_DUPLICATES, &root, &reason);
    if (status != REGISTRY_OK) {
        return status;
    }

    text = registry_json_text(json_object_get(root, "token"));

    if (text.len == 0) {
        text = registry_json_text(json_object_get(root, "access_token"));
    }

    if (text.len == 0) {
        status = REGISTRY_DECLINED;
        goto done;
    }

    if (!registry_token_valid(text)) {
        status = REGISTRY_INVALID;
        goto done;
    }

    copy = malloc(text.len + 1);

    if (copy == NULL) {
        status = REGISTRY_NOMEM;
        goto done;
    }

    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';

    token->text = copy;
    token->len = text.len;
    token->expires_in = registry_token_life(json_object_get(root,
                                                            "expires_in"));

done:

    json_decref(root);

    return status;
}


void
registry_token_free(registry_token_t *token)
{
    if (token->text == NULL) {
        return;
    }

    OPENSSL_cleanse(token->text, token->len);
    free(token->text);

    token->text = NULL;
    token->len = 0;
}


/* whether it fits a header: visible ASCII */

static int
registry_token_valid(registry_str_t text)
{
    size_t  i;

    if (text.len > REGISTRY_TOKEN_MAX) {
        return 0;
    }

    for (i = 0; i < text.len; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}


static int64_t
registry_token_life(const json_t *json)
{
    double  life;

    life = json_number_value(json);

    if (life >= REGISTRY_TOKEN_LIFE_MAX) {
        return REGISTRY_TOKEN_LIFE_MAX;
    }

    return life >= 1 ? (int64_t) life : REGISTRY_TOKEN_LIFE_DEFAULT;
}
