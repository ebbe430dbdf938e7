
/*
 * Error codes and documents.
 */


#include "registry_error.h"
#include "unit.h"


typedef struct {
    registry_error_e   error;
    const char        *code;
    int                status;
} error_t;


typedef struct {
    int                status;
    registry_error_e   error;
} status_t;


static const error_t  errors[] = {
    { REGISTRY_BLOB_UNKNOWN, "BLOB_UNKNOWN", 404 },
    { REGISTRY_BLOB_UPLOAD_INVALID, "BLOB_UPLOAD_INVALID", 400 },
    { REGISTRY_BLOB_UPLOAD_UNKNOWN, "BLOB_UPLOAD_UNKNOWN", 404 },
    { REGISTRY_DIGEST_INVALID, "DIGEST_INVALID", 400 },
    { REGISTRY_MANIFEST_BLOB_UNKNOWN, "MANIFEST_BLOB_UNKNOWN", 400 },
    { REGISTRY_MANIFEST_INVALID, "MANIFEST_INVALID", 400 },
    { REGISTRY_MANIFEST_UNKNOWN, "MANIFEST_UNKNOWN", 404 },
    { REGISTRY_NAME_INVALID, "NAME_INVALID", 400 },
    { REGISTRY_NAME_UNKNOWN, "NAME_UNKNOWN", 404 },
    { REGISTRY_SIZE_INVALID, "SIZE_INVALID", 400 },
    { REGISTRY_UNAUTHORIZED, "UNAUTHORIZED", 401 },
    { REGISTRY_DENIED, "DENIED", 403 },
    { REGISTRY_UNSUPPORTED_OPERATION, "UNSUPPORTED", 405 },
    { REGISTRY_TOOMANYREQUESTS, "TOOMANYREQUESTS", 429 },
    { REGISTRY_UNKNOWN, "UNKNOWN", 500 },
    { REGISTRY_UNAVAILABLE, "UNAVAILABLE", 503 }
};


static const status_t  statuses[] = {
    { 400, REGISTRY_UNSUPPORTED_OPERATION },
    { 401, REGISTRY_UNAUTHORIZED },
    { 403, REGISTRY_DENIED },
    { 404, REGISTRY_NAME_UNKNOWN },
    { 405, REGISTRY_UNSUPPORTED_OPERATION },
    { 408, REGISTRY_UNSUPPORTED_OPERATION },
    { 413, REGISTRY_SIZE_INVALID },
    { 414, REGISTRY_UNSUPPORTED_OPERATION },
    { 415, REGISTRY_UNSUPPORTED_OPERATION },
    { 416, REGISTRY_SIZE_INVALID },
    { 429, REGISTRY_TOOMANYREQUESTS },
    { 431, REGISTRY_UNSUPPORTED_OPERATION },
    { 494, REGISTRY_UNSUPPORTED_OPERATION },
    { 500, REGISTRY_UNKNOWN },
    { 501, REGISTRY_UNSUPPORTED_OPERATION },
    { 502, REGISTRY_UNAVAILABLE },
    { 503, REGISTRY_UNAVAILABLE },
    { 504, REGISTRY_UNAVAILABLE },
    { 507, REGISTRY_UNKNOWN }
};


static void
check_tables(void)
{
    size_t  i;

    for (i = 0; i < unit_count(errors); i++) {
        unit_is(registry_error_code(errors[i].error), errors[i].code,
                "the code of an error");
        unit_is_number(registry_error_status(errors[i].error),
                       errors[i].status, "its status");
        unit_ok(strlen(registry_error_message(errors[i].error)) > 0,
                "its message");
    }

    for (i = 0; i < unit_count(statuses); i++) {
        unit_ok(registry_error_of_status(statuses[i].status)
                == statuses[i].error, "the error of status %d",
                statuses[i].status);
    }
}


static void
check_document(const char *message, const char *const *details,
    size_t ndetails, const char *expected, const char *name)
{
    char            *document;
    size_t           i, len;
    registry_str_t   s[4];

    memset(s, 0, sizeof(s));

    for (i = 0; i < ndetails; i++) {
        s[i] = unit_text(details[i]);
    }

    document = registry_error_document(REGISTRY_DENIED, message, s, ndetails,
                                       &len);

    if (unit_is(document, expected, name)) {
        unit_is_number((long long) len, (long long) strlen(expected),
                       "its length");
    }

    free(document);

    for (i = 0; i < ndetails; i++) {
        unit_free(s[i]);
    }
}


static void
check_documents(void)
{
    static const char *const  two[] = { "a", "b" };
    static const char *const  quoted[] = { "\"\\/\n\x01\x1f\x7f" };
    static const char *const  utf8[] = {
        "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xb3\xef\xbf\xbf\xf4\x8f\xbf\xbf"
    };
    static const char *const  broken[] = { "a\xff" "b\xc3", "\x80\xe2\x82" };
    static const char *const  overlong[] = {
        "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"
    };

    check_document(NULL, NULL, 0,
                   "{\"errors\":[{\"code\":\"DENIED\","
                   "\"message\":\"access is denied\"}]}",
                   "a document without detail");

    check_document("no", two, 1,
                   "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\","
                   "\"detail\":\"a\"}]}",
                   "one with a detail");

    check_document("no", two, 2,
                   "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\","
                   "\"detail\":\"a\"},{\"code\":\"DENIED\","
                   "\"message\":\"no\",\"detail\":\"b\"}]}",
                   "one with two of them");

    check_document("a \"b\"", quoted, 1,
                   "{\"errors\":[{\"code\":\"DENIED\","
                   "\"message\":\"a \\\"b\\\"\",\"detail\":"
                   "\"\\\"\\\\/\\u000a\\u0001\\u001f\\u007f\"}]}",
                   "quotes and control characters are escaped");

    check_document("", utf8, 1,
                   "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\","
                   "\"detail\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xb3"
                   "\xef\xbf\xbf\xf4\x8f\xbf\xbf\"}]}",
                   "UTF-8 stays");

    check_document("\xff", broken, 2,
                   "{\"errors\":[{\"code\":\"DENIED\","
                   "\"message\":\"\xef\xbf\xbd\","
                   "\"detail\":\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"},"
                   "{\"code\":\"DENIED\",\"message\":\"\xef\xbf\xbd\","
                   "\"detail\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}]}",
                   "other bytes are replaced");

    check_document("", overlong, 4,
                   "{\"errors\":["
                   "{\"code\":\"DENIED\",\"message\":\"\",\"detail\":"
                   "\"\xef\xbf\xbd\xef\xbf\xbd\"},"
                   "{\"code\":\"DENIED\",\"message\":\"\",\"detail\":"
                   "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"},"
                   "{\"code\":\"DENIED\",\"message\":\"\",\"detail\":"
                   "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"},"
                   "{\"code\":\"DENIED\",\"message\":\"\",\"detail\":"
                   "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}]}",
                   "so are overlong forms, surrogates, what is too high");
}


/* the most that a byte can become, for each byte: no room is missing */

static void
check_longest(void)
{
    char            *document;
    size_t           len;
    json_t          *root, *detail;
    registry_str_t   s;

    s = unit_bytes("\0\0\0\0\0\0\0\0", 8);
    document = registry_error_document(REGISTRY_UNKNOWN, "\x01\x01", &s, 1,
                                       &len);
    unit_free(s);

    root = json_loadb(document, len, JSON_ALLOW_NUL, NULL);
    detail = json_object_get(json_array_get(json_object_get(root, "errors"),
                                            0), "detail");
    unit_is_number((long long) json_string_length(detail), 8,
                   "zeros are escaped and counted");

    json_decref(root);
    free(document);
}


static void
check_memory(void)
{
    char            *document;
    size_t           len;
    registry_str_t   s[2];

    s[0] = unit_text("a");
    s[1] = unit_text("b");

    unit_fail_at(1);
    document = registry_error_document(REGISTRY_DENIED, NULL, s, 2, &len);
    unit_ok(document == NULL, "no document without memory");
    unit_ok(unit_allocations == 1, "one allocation is all it takes");
    unit_fail_at(0);

    free(document);
    unit_free(s[0]);
    unit_free(s[1]);
}


int
main(void)
{
    check_tables();
    check_documents();
    check_longest();
    check_memory();

    return unit_done();
}
