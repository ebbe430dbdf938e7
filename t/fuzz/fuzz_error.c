
/*
 * Error documents.  The first byte is the error, the first line its message,
 * each further line a detail.  Whatever they hold, the document is JSON and
 * has as many errors as it should; what was UTF-8 comes back unchanged.
 */


#include <jansson.h>

#include "fuzz.h"
#include "registry_error.h"


#define DETAILS_MAX  8


static void
check_text(const json_t *json, registry_str_t in)
{
    json_t  *same;

    fuzz_check(json_is_string(json));

    same = json_stringn(in.data, in.len);

    if (same != NULL) {
        fuzz_check(json_equal(json, same));
        json_decref(same);
        return;
    }

    /* something was replaced; each byte by no more than U+FFFD */

    fuzz_check(strstr(json_string_value(json), "\xef\xbf\xbd") != NULL
               || memchr(in.data, '\0', in.len) != NULL);
    fuzz_check(json_string_length(json) > in.len
               && json_string_length(json) <= 3 * in.len);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char              *document, *message;
    size_t             i, n, len;
    json_t            *root, *errors, *entry;
    registry_str_t     in, line, details[DETAILS_MAX];
    registry_error_e   error;

    if (size == 0) {
        return 0;
    }

    error = (registry_error_e) (data[0] % (REGISTRY_UNAVAILABLE + 1));
    in = fuzz_str(data + 1, size - 1);
    line = fuzz_line(&in);

    message = malloc(line.len + 1);
    fuzz_check(message != NULL);

    memcpy(message, line.data, line.len);
    message[line.len] = '\0';

    for (n = 0; n < DETAILS_MAX && in.len; n++) {
        details[n] = fuzz_line(&in);
    }

    document = registry_error_document(error, line.len ? message : NULL,
                                       details, n, &len);
    fuzz_check(document != NULL && strlen(document) == len);

    root = json_loadb(document, len, JSON_ALLOW_NUL|JSON_REJECT_DUPLICATES,
                      NULL);
    errors = json_object_get(root, "errors");
    fuzz_check(json_object_size(root) == 1);
    fuzz_check(json_array_size(errors) == (n ? n : 1));

    json_array_foreach(errors, i, entry) {
        fuzz_check(json_object_size(entry) == (n ? 3 : 2));
        check_text(json_object_get(entry, "code"),
                   fuzz_text(registry_error_code(error)));
        check_text(json_object_get(entry, "message"),
                   fuzz_text(line.len ? message
                                      : registry_error_message(error)));

        if (n) {
            check_text(json_object_get(entry, "detail"), details[i]);
        }
    }

    json_decref(root);
    free(document);
    free(message);

    return 0;
}
