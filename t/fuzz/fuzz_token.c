
/*
 * Documents of token services.
 */


#include <jansson.h>

#include "fuzz.h"
#include "registry_token.h"


/* written as a document again, it says the same */

static void
check_again(const registry_token_t *token)
{
    char              *text;
    json_t            *root;
    registry_token_t   again;

    root = json_pack("{s:s,s:I}", "access_token", token->text, "expires_in",
                     (json_int_t) token->expires_in);
    fuzz_check(root != NULL);

    text = json_dumps(root, JSON_COMPACT);
    fuzz_check(text != NULL);
    json_decref(root);

    fuzz_check(registry_token_parse(fuzz_text(text), &again) == REGISTRY_OK);
    fuzz_check(strcmp(again.text, token->text) == 0
               && again.expires_in == token->expires_in);

    registry_token_free(&again);
    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t             *root;
    size_t              i;
    registry_token_t    token;
    registry_status_e   status;

    status = registry_token_parse(fuzz_str(data, size), &token);

    if (status != REGISTRY_OK) {
        fuzz_check(status == REGISTRY_INVALID || status == REGISTRY_DECLINED);
        return 0;
    }

    fuzz_check(token.len != 0 && token.len <= REGISTRY_TOKEN_MAX);
    fuzz_check(strlen(token.text) == token.len);
    fuzz_check(token.expires_in >= 1
               && token.expires_in <= REGISTRY_TOKEN_LIFE_MAX);

    for (i = 0; i < token.len; i++) {
        fuzz_check(token.text[i] > 0x20 && token.text[i] < 0x7f);
    }

    root = json_loadb((const char *) data, size, JSON_REJECT_DUPLICATES,
                      NULL);
    fuzz_check(json_is_object(root));
    json_decref(root);

    check_again(&token);
    registry_token_free(&token);
    fuzz_check(token.text == NULL);

    return 0;
}
