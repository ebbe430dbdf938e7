
/*
 * Files of credentials, and the header that carries them.
 */


#include "registry_credentials.h"
#include "registry_json.h"
#include "unit.h"


#define A64  "YTpi"                     /* a:b */
#define AUTH(host, auth)  "\"" host "\":{\"auth\":\"" auth "\"}"
#define AUTHS(entries)  "{\"auths\":{" entries "}}"


/* for the host "h" or else "h2" */

typedef struct {
    const char         *text;
    registry_status_e   status;
    const char         *user;           /* or a part of the reason */
    const char         *password;
    int                 identity;
} file_t;


static const file_t  files[] = {

    /* lines */

    { "a:b", REGISTRY_OK, "a", "b", 0 },
    { "a:b\n", REGISTRY_OK, "a", "b", 0 },
    { "a:b\r\nc:d\r\n", REGISTRY_OK, "a", "b", 0 },
    { "\n\r\n# a comment: here\n#\na:b\nbroken", REGISTRY_OK, "a", "b", 0 },
    { "robot$p+x:a:b$${c} # \"\\'\t ", REGISTRY_OK, "robot$p+x",
      "a:b$${c} # \"\\'\t ", 0 },
    { " a : b ", REGISTRY_OK, " a ", " b ", 0 },
    { "a:", REGISTRY_OK, "a", "", 0 },
    { "\xc3\xa9:\xff", REGISTRY_OK, "\xc3\xa9", "\xff", 0 },
    { "a:{", REGISTRY_OK, "a", "{", 0 },
    { "", REGISTRY_DECLINED, "there is no", NULL, 0 },
    { "\n\n\r\n", REGISTRY_DECLINED, "there is no", NULL, 0 },
    { "#a:b", REGISTRY_DECLINED, "there is no", NULL, 0 },
    { "a", REGISTRY_INVALID, "the line is not", NULL, 0 },
    { " \na:b", REGISTRY_INVALID, "the line is not", NULL, 0 },
    { "a\nb:c", REGISTRY_INVALID, "the line is not", NULL, 0 },
    { ":b", REGISTRY_INVALID, "malformed", NULL, 0 },

    /* config.json: which entry */

    { AUTHS(AUTH("h", A64)), REGISTRY_OK, "a", "b", 0 },
    { " \r\n\t" AUTHS(AUTH("h", A64)), REGISTRY_OK, "a", "b", 0 },
    { AUTHS(AUTH("https://h", A64)), REGISTRY_OK, "a", "b", 0 },
    { AUTHS(AUTH("HTTP://H/", A64)), REGISTRY_OK, "a", "b", 0 },
    { AUTHS(AUTH("https://h/v1/", A64)), REGISTRY_OK, "a", "b", 0 },
    { AUTHS(AUTH("https://h/v2", A64)), REGISTRY_OK, "a", "b", 0 },
    { AUTHS(AUTH("h/v2/", A64)), REGISTRY_OK, "a", "b", 0 },
    { AUTHS(AUTH("h2", "Yzpk") "," AUTH("h", A64)), REGISTRY_OK, "a", "b",
      0 },
    { AUTHS(AUTH("x", A64) "," AUTH("h2", "Yzpk")), REGISTRY_OK, "c", "d",
      0 },
    { AUTHS("\"h\":{}," AUTH("h2", "Yzpk")), REGISTRY_OK, "c", "d", 0 },
    { AUTHS(AUTH("h:5000", A64)), REGISTRY_DECLINED, "no entry", NULL, 0 },
    { AUTHS(AUTH("h/a", A64)), REGISTRY_DECLINED, "no entry", NULL, 0 },
    { AUTHS(AUTH("https://h/v3/", A64)), REGISTRY_DECLINED, "no entry", NULL,
      0 },
    { AUTHS(AUTH("xh", A64) "," AUTH("hx", A64) "," AUTH("", A64)),
      REGISTRY_DECLINED, "no entry", NULL, 0 },
    { AUTHS(AUTH("https://", A64) "," AUTH("/", A64)), REGISTRY_DECLINED,
      "no entry", NULL, 0 },
    { "{}", REGISTRY_DECLINED, "no entry", NULL, 0 },
    { AUTHS(""), REGISTRY_DECLINED, "no entry", NULL, 0 },
    { "{\"auths\":null,\"credHelpers\":null,\"credsStore\":\"\"}",
      REGISTRY_DECLINED, "no entry", NULL, 0 },
    { AUTHS("\"h\":{\"auth\":\"\",\"email\":\"x\"}"), REGISTRY_DECLINED,
      "no entry", NULL, 0 },
    { AUTHS("\"h\":{\"password\":\"b\"}"), REGISTRY_DECLINED, "no entry",
      NULL, 0 },

    /* what is in it */

    { AUTHS(AUTH("h", "dXNlcjpwYTpzcw==")), REGISTRY_OK, "user", "pa:ss", 0 },
    { AUTHS(AUTH("h", "dXNlcjpwYTpzcw")), REGISTRY_OK, "user", "pa:ss", 0 },
    { AUTHS(AUTH("h", "YWI6Yz8+")), REGISTRY_OK, "ab", "c?>", 0 },
    { AUTHS(AUTH("h", "YTo+Pz8/")), REGISTRY_OK, "a", ">???", 0 },
    { AUTHS(AUTH("h", "YTpiAAA=")), REGISTRY_OK, "a", "b", 0 },
    { AUTHS(AUTH("h", "YTo=")), REGISTRY_OK, "a", "", 0 },
    { AUTHS("\"h\":{\"auth\":null,\"username\":\"u\",\"password\":\"p:\"}"),
      REGISTRY_OK, "u", "p:", 0 },
    { AUTHS("\"h\":{\"auth\":\"" A64 "\",\"username\":\"u\","
            "\"password\":\"p\"}"), REGISTRY_OK, "a", "b", 0 },
    { AUTHS("\"h\":{\"identitytoken\":\"t\"}"), REGISTRY_OK, "", "t", 1 },
    { AUTHS("\"h\":{\"identitytoken\":\"t\",\"username\":\"u\","
            "\"password\":\"p\"}"), REGISTRY_OK, "u", "t", 1 },
    { AUTHS("\"h\":{\"auth\":\"" A64 "\",\"identitytoken\":\"t\"}"),
      REGISTRY_OK, "a", "t", 1 },
    { AUTHS("\"h\":{\"auth\":\"Og==\",\"identitytoken\":\"t\"}"),
      REGISTRY_OK, "", "t", 1 },
    { AUTHS("\"x\":1," AUTH("h", A64)), REGISTRY_OK, "a", "b", 0 },

    { AUTHS(AUTH("h", "YQ==")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "=")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "YTpi=")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "YTpiY")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "YTo===")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "YT=pi")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "YTp-")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", " YTpi")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "a:b")), REGISTRY_INVALID, "in base64", NULL, 0 },
    { AUTHS(AUTH("h", "OmI=")), REGISTRY_INVALID, "malformed", NULL, 0 },
    { AUTHS(AUTH("h", "YQA6Yg==")), REGISTRY_INVALID, "malformed", NULL, 0 },
    { AUTHS(AUTH("h", "YTphAGI=")), REGISTRY_INVALID, "malformed", NULL, 0 },
    { AUTHS("\"h\":{\"username\":\"a:b\",\"password\":\"c\"}"),
      REGISTRY_INVALID, "malformed", NULL, 0 },
    { AUTHS("\"h\":1"), REGISTRY_INVALID, "an entry", NULL, 0 },
    { AUTHS("\"h\":null"), REGISTRY_INVALID, "an entry", NULL, 0 },
    { AUTHS("\"h\":{\"auth\":1}"), REGISTRY_INVALID, "an entry", NULL, 0 },
    { AUTHS("\"h\":{\"password\":1}"), REGISTRY_INVALID, "an entry", NULL,
      0 },
    { "{\"auths\":[]}", REGISTRY_INVALID, "is not an object", NULL, 0 },
    { "{\"credHelpers\":\"x\"}", REGISTRY_INVALID, "is not an object", NULL,
      0 },
    { "{\"auths\":{}", REGISTRY_INVALID, "not valid JSON", NULL, 0 },
    { "{\"auths\":{},\"auths\":{}}", REGISTRY_INVALID, "same member twice",
      NULL, 0 },
    { "{", REGISTRY_INVALID, "not valid JSON", NULL, 0 },

    /* helpers */

    { "{\"credHelpers\":{\"h\":\"x\"},\"auths\":{" AUTH("h", A64) "}}",
      REGISTRY_UNSUPPORTED, "credHelpers", NULL, 0 },
    { "{\"credHelpers\":{\"https://H/\":\"x\"}}", REGISTRY_UNSUPPORTED,
      "credHelpers", NULL, 0 },
    { "{\"credHelpers\":{\"h2\":\"x\"},\"auths\":{" AUTH("h", A64) "}}",
      REGISTRY_OK, "a", "b", 0 },
    { "{\"credHelpers\":{\"x\":\"x\"}}", REGISTRY_DECLINED, "no entry", NULL,
      0 },
    { "{\"credsStore\":\"x\"}", REGISTRY_UNSUPPORTED, "credsStore", NULL, 0 },
    { "{\"credsStore\":\"x\",\"auths\":{\"h\":{}}}", REGISTRY_UNSUPPORTED,
      "credsStore", NULL, 0 },
    { "{\"credsStore\":\"x\",\"auths\":{" AUTH("h2", A64) "}}", REGISTRY_OK,
      "a", "b", 0 }
};


static registry_credentials_t   credentials;
static const char              *reason;


static registry_status_e
find(registry_str_t s)
{
    registry_str_t         hosts[2];
    registry_status_e      status;

    reason = NULL;
    memset(&credentials, 0, sizeof(credentials));

    hosts[0] = unit_text("h");
    hosts[1] = unit_text("https://h2/v2/");

    status = registry_credentials_find(s, hosts, 2, &credentials, &reason);

    unit_free(hosts[0]);
    unit_free(hosts[1]);

    return status;
}


static void
check_file(const file_t *f)
{
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text(f->text);
    status = find(s);
    unit_free(s);

    unit_ok(status == f->status, "file of %d bytes, status %d",
            (int) strlen(f->text), (int) f->status);

    if (status != REGISTRY_OK) {
        unit_ok(reason != NULL && strstr(reason, f->user) != NULL,
                "because: %s", f->user);
        unit_ok(credentials.user == NULL && credentials.password == NULL,
                "nothing is found");

    } else {
        unit_is(credentials.user, f->user, "the user");
        unit_is(credentials.password, f->password, "the password");
        unit_is_number(credentials.identity, f->identity, "what it is");
    }

    registry_credentials_free(&credentials);
    unit_ok(credentials.user == NULL && credentials.password == NULL,
            "and it is gone");
    registry_credentials_free(&credentials);
}


static void
check_limits(void)
{
    char            *text;
    size_t           n, i;
    registry_str_t   s, none;

    text = malloc(REGISTRY_CREDENTIALS_FILE_MAX + 1);
    memset(text, '\n', REGISTRY_CREDENTIALS_FILE_MAX + 1);
    memcpy(text + REGISTRY_CREDENTIALS_FILE_MAX - 3, "a:b", 3);

    s.data = text;
    s.len = REGISTRY_CREDENTIALS_FILE_MAX;
    unit_ok(find(s) == REGISTRY_OK, "the largest file");
    registry_credentials_free(&credentials);

    s.len++;
    unit_ok(find(s) == REGISTRY_INVALID && strstr(reason, "too large"),
            "a file that is too large");

    for (i = 0; i < 2; i++) {
        for (n = REGISTRY_CREDENTIAL_MAX; n <= REGISTRY_CREDENTIAL_MAX + 1;
             n++)
        {
            memset(text, 'x', n + 2);
            text[i ? 1 : n] = ':';
            s.len = n + (i ? 2 : 1);

            unit_ok(find(s) == (n > REGISTRY_CREDENTIAL_MAX
                                ? REGISTRY_INVALID : REGISTRY_OK),
                    "%s of %d bytes", i ? "a password" : "a user", (int) n);
            registry_credentials_free(&credentials);
        }
    }

    free(text);

    s = unit_bytes("a:b\0c", 5);
    unit_ok(find(s) == REGISTRY_INVALID, "a zero in a password");
    unit_free(s);

    s = unit_bytes("\0a:b", 4);
    unit_ok(find(s) == REGISTRY_INVALID, "a zero in a user");
    unit_free(s);

    s = unit_text(AUTHS(AUTH("", A64)));
    none = unit_text("");
    unit_ok(registry_credentials_find(s, &none, 1, &credentials, &reason)
            == REGISTRY_DECLINED, "no host is not any host");
    unit_ok(registry_credentials_find(s, NULL, 0, &credentials, &reason)
            == REGISTRY_DECLINED && reason != NULL, "nor are none");
    unit_free(none);
    unit_free(s);
}


static void
check_basic(const char *user, const char *password, const char *expected)
{
    char               *buf;
    size_t              n, len, size;
    registry_str_t      u, p;
    registry_status_e   status;

    u = unit_text(user);
    p = unit_text(password);

    size = strlen(expected);
    unit_is_number((long long) registry_basic_size(u.len, p.len),
                   (long long) size, "the room for a header");

    for (n = 0; n <= size; n++) {
        buf = malloc(n ? n : 1);
        len = 0;
        status = registry_basic_value(u, p, buf, n, &len);

        if (status == REGISTRY_OK) {
            unit_ok(n == size && len == size
                    && memcmp(buf, expected, len) == 0, "%s", expected);
        }

        free(buf);
    }

    unit_ok(status == REGISTRY_OK, "%s:%s", user, password);

    unit_free(u);
    unit_free(p);
}


static void
check_basics(void)
{
    char            buf[64];
    size_t          len;
    registry_str_t  u, p;

    check_basic("Aladdin", "open sesame",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    check_basic("test", "123\xc2\xa3", "Basic dGVzdDoxMjPCow==");
    check_basic("", "", "Basic Og==");
    check_basic("a", "", "Basic YTo=");
    check_basic("", "b", "Basic OmI=");
    check_basic("a", "b", "Basic YTpi");
    check_basic("a", "\xff\xff\xff:", "Basic YTr///86");
    check_basic("robot$a", "b:c", "Basic cm9ib3QkYTpiOmM=");

    u = unit_text("a:b");
    p = unit_text("c");
    unit_ok(registry_basic_value(u, p, buf, sizeof(buf), &len)
            == REGISTRY_INVALID, "a user with a colon");
    unit_free(u);
    unit_free(p);
}


static void
check_memory(const char *text)
{
    long               n, wrong;
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text(text);
    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = find(s);

        if (unit_allocations < n) {
            break;
        }

        wrong += credentials.user != NULL || credentials.password != NULL
                 || (status != REGISTRY_NOMEM
                     && !(unit_failed_json && status == REGISTRY_INVALID));
    }

    unit_fail_at(0);
    unit_ok(n > 2 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed", n - 1);

    registry_credentials_free(&credentials);
    unit_free(s);
}


int
main(void)
{
    size_t  i;

    unit_wrap_json();

    for (i = 0; i < unit_count(files); i++) {
        check_file(&files[i]);
    }

    check_limits();
    check_basics();

    check_memory("a:b");
    check_memory(AUTHS("\"x\":{}," AUTH("h", A64)));
    check_memory(AUTHS("\"h\":{\"username\":\"u\",\"password\":\"p\"}"));

    return unit_done();
}
