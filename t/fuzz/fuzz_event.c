
/*
 * Notifications of other registries: what is taken has passed the grammars,
 * and comes back from a document with that event alone.
 */


#include <jansson.h>

#include "fuzz.h"
#include "registry_digest.h"
#include "registry_event.h"
#include "registry_name.h"
#include "registry_url.h"


static void
check_event(const registry_event_t *e)
{
    size_t             i;
    registry_digest_t  digest;

    fuzz_check(registry_name_valid(e->repository));
    fuzz_check(e->tag.len == 0 || registry_tag_valid(e->tag));
    fuzz_check(e->digest.len == 0
               || registry_digest_parse(e->digest, &digest) == REGISTRY_OK);
    fuzz_check(e->tag.len != 0 || e->digest.len != 0
               || e->action == REGISTRY_EVENT_DELETE);
    fuzz_check(e->host.len <= REGISTRY_HOST_MAX);

    for (i = 0; i < e->host.len; i++) {
        fuzz_check(e->host.data[i] > 0x20 && e->host.data[i] < 0x7f
                   && e->host.data[i] != '/' && e->host.data[i] != '"');
    }
}


static int
same(registry_str_t a, registry_str_t b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}


static void
check_again(const registry_event_t *e)
{
    char               *text;
    json_t             *root;
    registry_event_t   *again;
    registry_events_t   events;

    root = json_pack("{s:[{s:s,s:{s:s#,s:s#,s:s#},s:{s:s#}}]}", "events",
                     "action", e->action == REGISTRY_EVENT_PUSH ? "mount"
                                                                : "delete",
                     "target",
                     "repository", e->repository.data,
                     (int) e->repository.len,
                     "tag", e->tag.data, (int) e->tag.len,
                     "digest", e->digest.data, (int) e->digest.len,
                     "request", "host", e->host.len ? e->host.data : "",
                     (int) e->host.len);
    fuzz_check(root != NULL);

    text = json_dumps(root, JSON_COMPACT);
    fuzz_check(text != NULL);
    json_decref(root);

    fuzz_check(registry_events_parse(fuzz_text(text), &events)
               == REGISTRY_OK);
    fuzz_check(events.n == 1 && events.skipped == 0);

    again = &events.events[0];
    fuzz_check(again->action == e->action
               && same(again->repository, e->repository)
               && same(again->tag, e->tag) && same(again->digest, e->digest)
               && same(again->host, e->host));

    registry_events_free(&events);
    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i;
    registry_events_t  events;
    registry_status_e  status;

    status = registry_events_parse(fuzz_str(data, size), &events);

    if (status != REGISTRY_OK) {
        fuzz_check(status == REGISTRY_INVALID
                   || status == REGISTRY_UNSUPPORTED);
        return 0;
    }

    fuzz_check(events.n + events.skipped <= REGISTRY_EVENTS_MAX);

    for (i = 0; i < events.n; i++) {
        check_event(&events.events[i]);
        check_again(&events.events[i]);
    }

    registry_events_free(&events);

    return 0;
}
