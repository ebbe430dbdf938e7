
/*
 * JSON, read by jansson, after a look at its nesting and its size in memory.
 */


#include <stdlib.h>

#include "registry_json.h"


static const char *registry_json_scan(registry_str_t in, size_t *memory);


registry_status_e
registry_json_load(registry_str_t in, size_t flags, json_t **root,
    const char **reason)
{
    size_t          memory;
    void *volatile  room;
    json_error_t    error;

    *reason = registry_json_scan(in, &memory);
    if (*reason != NULL) {
        return REGISTRY_INVALID;
    }

    /*
     * jansson 2.14 overlooks it when the buffer of its lexer cannot grow,
     * and then reads past that buffer; also, it reports some failed
     * allocations as errors of syntax.  So the room is asked for here, where
     * its lack can be told.
     */

    room = malloc(memory);
    if (room == NULL) {
        return REGISTRY_NOMEM;
    }

    free(room);

    *root = json_loadb(in.data, in.len, flags, &error);

    if (*root == NULL) {

        /* a failed allocation mostly leaves no text */

        if (error.text[0] == '\0'
            || json_error_code(&error) == json_error_out_of_memory)
        {
            return REGISTRY_NOMEM;
        }

        *reason = json_error_code(&error) == json_error_duplicate_key
                  ? "an object has the same member twice"
                  : "the bytes are not valid JSON";

        return REGISTRY_INVALID;
    }

    if (!json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        *reason = "the JSON is not an object";
        return REGISTRY_INVALID;
    }

    return REGISTRY_OK;
}


registry_str_t
registry_json_text(const json_t *json)
{
    registry_str_t  text;

    text.data = json_is_string(json) ? json_string_value(json) : "";
    text.len = json_string_length(json);

    return text;
}


json_t *
registry_json_member(const json_t *object, const char *name)
{
    json_t  *json;

    json = json_object_get(object, name);

    return json_is_null(json) ? NULL : json;
}


/*
 * Bounds what a parser would do: NULL and at least the memory that the
 * tree takes, or what is wrong.  Strings are passed over; up to the first
 * error of syntax, where the parser stops, the two agree on where these are.
 *
 * A container takes about a hundred times the bytes of "{}", hence a limit
 * on how densely they come.  A descriptor has two or three of them in more
 * than a hundred bytes.
 */

static const char *
registry_json_scan(registry_str_t in, size_t *memory)
{
    char    c;
    int     string;
    size_t  i, depth, containers, values;

    string = 0;
    depth = 0;
    containers = 0;
    values = 0;

    for (i = 0; i < in.len; i++) {
        c = in.data[i];

        if (string) {

            if (c == '\\') {
                i++;

            } else if (c == '"') {
                string = 0;
            }

            continue;
        }

        switch (c) {

        case '"':
            string = 1;
            break;

        case ',':
            values++;
            break;

        case '{':
        case '[':
            containers++;

            if (++depth > REGISTRY_JSON_DEPTH) {
                return "the JSON is nested too deeply";
            }

            break;

        case '}':
        case ']':
            if (depth == 0) {
                return "the bytes are not valid JSON";
            }

            depth--;
            break;
        }
    }

    if (containers == 0) {
        return "the JSON is not an object";
    }

    if (containers > 256 + in.len / 32) {
        return "the JSON has too many objects and arrays";
    }

    *memory = 4 * in.len + 256 * containers + 160 * values;

    return NULL;
}
