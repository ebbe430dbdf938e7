
/*
 * Notifications: what is taken from each form, what is skipped.
 */


#include "registry_event.h"
#include "registry_json.h"
#include "registry_url.h"
#include "unit.h"


#define HEX64                                                                 \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define D1  "sha256:" HEX64
#define D2  "sha512:" HEX64 HEX64

#define EVENTS(events)  "{\"events\":[" events "]}"
#define EVENT(action, target)                                                 \
    "{\"id\":\"1\",\"action\":\"" action "\",\"target\":{" target "},"        \
    "\"request\":{\"host\":\"reg.example:5000\",\"method\":\"PUT\"},"         \
    "\"actor\":{},\"source\":{\"addr\":\"x\"}}"
#define TARGET  "\"repository\":\"a/b\",\"tag\":\"1\",\"digest\":\"" D1 "\""

#define REPOSITORY                                                            \
    "\"repository\":{\"name\":\"b\",\"namespace\":\"a\","                     \
    "\"repo_full_name\":\"a/b\",\"repo_type\":\"private\"}"
#define RESOURCE(tag, url)                                                    \
    "{\"digest\":\"" D1 "\",\"tag\":\"" tag "\",\"resource_url\":\"" url "\"}"
#define HARBOR(type, resources)                                               \
    "{\"type\":\"" type "\",\"occur_at\":1,\"operator\":\"admin\","           \
    "\"event_data\":{\"resources\":[" resources "]," REPOSITORY "}}"
#define CLOUD(type, resources)                                                \
    "{\"specversion\":\"1.0\",\"type\":\"" type "\",\"source\":\"/x\","       \
    "\"data\":{\"resources\":[" resources "]," REPOSITORY "}}"


/* events as describe() prints them */

typedef struct {
    const char  *text;
    const char  *expected;
    size_t       skipped;
} document_t;


static const document_t  documents[] = {

    /* Distribution */

    { EVENTS(""), "", 0 },
    { EVENTS(EVENT("push", TARGET)), "+a/b:1@" D1 "(reg.example:5000)", 0 },
    { EVENTS(EVENT("mount", "\"repository\":\"a\",\"digest\":\"" D2 "\"")),
      "+a:@" D2 "(reg.example:5000)", 0 },
    { EVENTS(EVENT("delete", "\"repository\":\"a\",\"digest\":\"" D1 "\"")
             "," EVENT("pull", TARGET)
             "," EVENT("delete", "\"repository\":\"a\",\"tag\":\"x\"")),
      "-a:@" D1 "(reg.example:5000)-a:x@(reg.example:5000)", 1 },
    { EVENTS(EVENT("delete", "\"repository\":\"a\"")),
      "-a:@(reg.example:5000)", 0 },
    { EVENTS(EVENT("push", "\"repository\":\"a\"")), "", 1 },
    { EVENTS("{\"action\":\"push\",\"target\":{" TARGET "}}"),
      "+a/b:1@" D1 "()", 0 },
    { EVENTS("{\"action\":\"push\",\"target\":{" TARGET "},"
             "\"request\":{\"host\":\"a/b\"}}"), "+a/b:1@" D1 "()", 0 },
    { EVENTS("{\"action\":\"push\",\"target\":{" TARGET "},"
             "\"request\":{\"host\":\"[::1]:80\"}}"),
      "+a/b:1@" D1 "([::1]:80)", 0 },

    { EVENTS("1,null,\"push\",[],{}"), "", 5 },
    { EVENTS("{\"action\":\"push\",\"target\":[]}"), "", 1 },
    { EVENTS("{\"action\":1,\"target\":{" TARGET "}}"), "", 1 },
    { EVENTS(EVENT("PUSH", TARGET)), "", 1 },
    { EVENTS(EVENT("push", "\"tag\":\"1\"")), "", 1 },
    { EVENTS(EVENT("delete", "\"repository\":\"\"")), "", 1 },
    { EVENTS(EVENT("delete", "\"repository\":\"A\"")), "", 1 },
    { EVENTS(EVENT("delete", "\"repository\":\"../a\"")), "", 1 },
    { EVENTS(EVENT("delete", "\"repository\":\"a\",\"tag\":\"-\"")), "", 1 },
    { EVENTS(EVENT("push", "\"repository\":\"a\",\"tag\":\"" D1 "\"")), "",
      1 },
    { EVENTS(EVENT("delete", "\"repository\":\"a\",\"digest\":\"x\"")), "",
      1 },
    { EVENTS(EVENT("delete", "\"repository\":\"a\",\"tag\":\"x\","
                   "\"digest\":\"sha256:00\"")), "", 1 },
    { EVENTS(EVENT("push", "\"repository\":\"a\","
                   "\"digest\":\"blake3:00\"")), "", 1 },

    /* Harbor */

    { HARBOR("PUSH_ARTIFACT", RESOURCE("v1", "h.example:8081/a/b:v1")),
      "+a/b:v1@" D1 "(h.example:8081)", 0 },
    { HARBOR("PUSH_ARTIFACT", RESOURCE(D1, "h/a/b@" D1)),
      "+a/b:@" D1 "(h)", 0 },
    { HARBOR("DELETE_ARTIFACT", RESOURCE("x", "h/a/b:x") ","
             RESOURCE("y", "") ",{\"digest\":\"" D2 "\"}"),
      "-a/b:x@" D1 "(h)-a/b:y@" D1 "()-a/b:@" D2 "()", 0 },
    { HARBOR("DELETE_ARTIFACT", RESOURCE("x", "h") ","
             RESOURCE("y", "h\\u0000/a") "," RESOURCE("z", "h\\n/a")), NULL,
      0 },
    { HARBOR("DELETE_ARTIFACT", RESOURCE("x", "h") ","
             RESOURCE("z", "h\\n/a")), "-a/b:x@" D1 "()-a/b:z@" D1 "()", 0 },
    { HARBOR("DELETE_ARTIFACT", "{},1,null"), "", 3 },
    { HARBOR("PUSH_ARTIFACT", "{},1," RESOURCE("-", "")), "", 3 },
    { HARBOR("PULL_ARTIFACT", RESOURCE("x", "")), "", 1 },
    { HARBOR("harbor", ""), "", 0 },
    { "{\"type\":\"QUOTA_EXCEED\",\"event_data\":{\"custom_attributes\":{}}}",
      "", 0 },
    { "{\"type\":\"DELETE_ARTIFACT\",\"event_data\":{\"resources\":["
      RESOURCE("x", "") "]}}", "", 1 },
    { CLOUD("harbor.artifact.pushed", RESOURCE("v1", "h/a/b:v1")),
      "+a/b:v1@" D1 "(h)", 0 },
    { CLOUD("harbor.artifact.deleted", RESOURCE("v1", "h/a/b:v1")),
      "-a/b:v1@" D1 "(h)", 0 },
    { CLOUD("harbor.artifact.pulled", RESOURCE("v1", "h/a/b:v1")), "", 1 }
};


static registry_events_t  events;


static registry_status_e
parse(const char *text)
{
    registry_str_t     s;
    registry_status_e  status;

    memset(&events, 0, sizeof(events));

    s = unit_text(text);
    status = registry_events_parse(s, &events);
    unit_free(s);

    return status;
}


static int
describe(char *p, const registry_event_t *e)
{
    return sprintf(p, "%c%.*s:%.*s@%.*s(%.*s)",
                   e->action == REGISTRY_EVENT_PUSH ? '+' : '-',
                   (int) e->repository.len, e->repository.data,
                   (int) e->tag.len, e->tag.data,
                   (int) e->digest.len, e->digest.data,
                   (int) e->host.len, e->host.data);
}


static void
check_document(const document_t *d)
{
    int                n;
    char               got[1024];
    size_t             i;
    registry_status_e  status;

    status = parse(d->text);

    if (d->expected == NULL) {
        unit_ok(status == REGISTRY_INVALID, "no document");
        return;
    }

    unit_ok(status == REGISTRY_OK, "a document of %d bytes",
            (int) strlen(d->text));

    n = 0;
    got[0] = '\0';

    for (i = 0; i < events.n; i++) {
        n += describe(got + n, &events.events[i]);
    }

    unit_is(got, d->expected, "its events");
    unit_is_number((long long) events.skipped, (long long) d->skipped,
                   "how many were skipped");

    registry_events_free(&events);
    unit_ok(events.n == 0 && events.events == NULL
            && events.document == NULL, "they are gone");
    registry_events_free(&events);
}


static void
check_none(const char *text, registry_status_e expected)
{
    unit_ok(parse(text) == expected && events.events == NULL
            && events.document == NULL,
            "status %d for %s", (int) expected, text);
}


static void
check_host(size_t len)
{
    char  text[512 + sizeof(TARGET)], host[REGISTRY_HOST_MAX + 2];

    memset(host, 'h', len);
    host[len] = '\0';

    sprintf(text, EVENTS("{\"action\":\"push\",\"target\":{" TARGET "},"
                         "\"request\":{\"host\":\"%s\"}}"), host);

    unit_ok(parse(text) == REGISTRY_OK && events.n == 1
            && events.events[0].host.len
               == (len > REGISTRY_HOST_MAX ? 0 : len),
            "a host of %d bytes", (int) len);
    registry_events_free(&events);
}


static void
check_limits(void)
{
    int     i, n;
    char   *text, *p;

    text = malloc(REGISTRY_EVENTS_DOCUMENT_MAX + 2);

    for (n = REGISTRY_EVENTS_MAX; n <= REGISTRY_EVENTS_MAX + 1; n++) {
        p = text + sprintf(text, "{\"events\":[0");

        for (i = 1; i < n; i++) {
            p += sprintf(p, ",0");
        }

        strcpy(p, "]}");

        unit_ok(parse(text) == (n > REGISTRY_EVENTS_MAX
                                ? REGISTRY_INVALID : REGISTRY_OK)
                && events.skipped == (n > REGISTRY_EVENTS_MAX
                                      ? 0 : REGISTRY_EVENTS_MAX),
                "%d events", n);
        registry_events_free(&events);
    }

    for (n = REGISTRY_EVENTS_DOCUMENT_MAX;
         n <= REGISTRY_EVENTS_DOCUMENT_MAX + 1;
         n++)
    {
        memset(text, ' ', (size_t) n);
        memcpy(text, "{\"events\":[]}", 13);
        text[n] = '\0';

        unit_ok(parse(text) == (n > REGISTRY_EVENTS_DOCUMENT_MAX
                                ? REGISTRY_INVALID : REGISTRY_OK),
                "a document of %d bytes", n);
        registry_events_free(&events);
    }

    free(text);
}


/*
 * The long string is a checked one, since jansson may lose a byte of a string
 * when its buffer cannot grow: then the event is skipped, never another one.
 */

static void
check_memory(void)
{
    long               n, wrong, mistaken;
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text(EVENTS(EVENT("push", TARGET)));
    memset(&events, 0, sizeof(events));
    wrong = 0;
    mistaken = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_events_parse(s, &events);

        if (unit_allocations < n) {
            break;
        }

        if (status == REGISTRY_NOMEM && events.document == NULL) {
            continue;
        }

        if (unit_failed_json && events.n == 0) {
            mistaken++;

        } else {
            printf("# allocation %ld: status %d\n", n, (int) status);
            wrong++;
        }

        registry_events_free(&events);
    }

    unit_fail_at(0);
    unit_ok(n > 10 && n < 1000 && status == REGISTRY_OK && events.n == 1,
            "each of %ld allocations failed", n - 1);
    unit_ok(wrong == 0, "and every time it was noticed");
    unit_ok(mistaken < n / 2, "%ld times as something else", mistaken);

    registry_events_free(&events);
    unit_free(s);
}


int
main(void)
{
    size_t  i;

    unit_wrap_json();

    for (i = 0; i < unit_count(documents); i++) {
        check_document(&documents[i]);
    }

    check_none("{}", REGISTRY_UNSUPPORTED);
    check_none("{\"events\":{}}", REGISTRY_UNSUPPORTED);
    check_none("{\"type\":\"PUSH_ARTIFACT\"}", REGISTRY_UNSUPPORTED);
    check_none("{\"type\":1,\"data\":{}}", REGISTRY_UNSUPPORTED);
    check_none("{\"type\":\"x\",\"data\":[]}", REGISTRY_UNSUPPORTED);
    check_none("", REGISTRY_INVALID);
    check_none("[]", REGISTRY_INVALID);
    check_none("{\"events\":[]", REGISTRY_INVALID);
    check_none("{\"events\":[],\"events\":[]}", REGISTRY_INVALID);

    check_host(REGISTRY_HOST_MAX);
    check_host(REGISTRY_HOST_MAX + 1);
    check_limits();
    check_memory();

    return unit_done();
}
