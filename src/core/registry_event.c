
/*
 * Notifications of other registries.  Whose events are believed is for the
 * caller to decide.
 */


#include <stdlib.h>
#include <string.h>

#include "registry_digest.h"
#include "registry_event.h"
#include "registry_json.h"
#include "registry_name.h"
#include "registry_url.h"


/* what registries call it: Distribution, Harbor, Harbor as CloudEvents */

typedef struct {
    const char        *name;
    registry_event_e   action;
} registry_event_name_t;


static const registry_event_name_t  registry_event_names[] = {
    { "push", REGISTRY_EVENT_PUSH },
    { "mount", REGISTRY_EVENT_PUSH },
    { "delete", REGISTRY_EVENT_DELETE },
    { "PUSH_ARTIFACT", REGISTRY_EVENT_PUSH },
    { "DELETE_ARTIFACT", REGISTRY_EVENT_DELETE },
    { "harbor.artifact.pushed", REGISTRY_EVENT_PUSH },
    { "harbor.artifact.deleted", REGISTRY_EVENT_DELETE }
};

#define REGISTRY_EVENT_NAMES                                                  \
    (sizeof(registry_event_names) / sizeof(registry_event_names[0]))


static registry_status_e registry_events_read(const json_t *root,
    registry_events_t *events);
static registry_event_t registry_event_of_distribution(const json_t *json);
static registry_event_t registry_event_of_harbor(const json_t *data,
    const json_t *resource);
static int registry_event_action(const json_t *name,
    registry_event_e *action);
static int registry_event_valid(const registry_event_t *event, int whole);
static int registry_event_host_valid(registry_str_t host);
static registry_str_t registry_event_text(const json_t *json,
    const char *name);


registry_status_e
registry_events_parse(registry_str_t json, registry_events_t *events)
{
    json_t             *root;
    const char         *reason;
    registry_status_e   status;

    if (json.len > REGISTRY_EVENTS_DOCUMENT_MAX) {
        return REGISTRY_INVALID;
    }

    status = registry_json_load(json, JSON_REJECT_DUPLICATES, &root, &reason);
    if (status != REGISTRY_OK) {
        return status;
    }

    memset(events, 0, sizeof(registry_events_t));
    events->document = root;

    status = registry_events_read(root, events);

    if (status != REGISTRY_OK) {
        registry_events_free(events);
    }

    return status;
}


void
registry_events_free(registry_events_t *events)
{
    json_decref(events->document);
    free(events->events);

    memset(events, 0, sizeof(registry_events_t));
}


static registry_status_e
registry_events_read(const json_t *root, registry_events_t *events)
{
    size_t             i, n;
    const json_t      *list, *data, *name, *json;
    registry_event_t   event;

    data = NULL;
    name = json_object_get(root, "type");
    list = json_object_get(root, "events");

    if (!json_is_array(list)) {
        data = json_object_get(root, "event_data");

        if (data == NULL) {
            data = json_object_get(root, "data");
        }

        if (!json_is_string(name) || !json_is_object(data)) {
            return REGISTRY_UNSUPPORTED;
        }

        list = json_object_get(data, "resources");
    }

    n = json_array_size(list);

    if (n > REGISTRY_EVENTS_MAX) {
        return REGISTRY_INVALID;
    }

    if (n == 0) {
        return REGISTRY_OK;
    }

    events->events = calloc(n, sizeof(registry_event_t));
    if (events->events == NULL) {
        return REGISTRY_NOMEM;
    }

    for (i = 0; i < n; i++) {
        json = json_array_get(list, i);

        if (data != NULL) {
            event = registry_event_of_harbor(data, json);

        } else {
            event = registry_event_of_distribution(json);
            name = json_object_get(json, "action");
        }

        if (registry_event_action(name, &event.action)
            && registry_event_valid(&event, data == NULL))
        {
            events->events[events->n++] = event;

        } else {
            events->skipped++;
        }
    }

    return REGISTRY_OK;
}


static registry_event_t
registry_event_of_distribution(const json_t *json)
{
    const json_t      *target;
    registry_event_t   event;

    memset(&event, 0, sizeof(registry_event_t));

    target = json_object_get(json, "target");

    event.repository = registry_event_text(target, "repository");
    event.tag = registry_event_text(target, "tag");
    event.digest = registry_event_text(target, "digest");
    event.host = registry_event_text(json_object_get(json, "request"),
                                     "host");

    if (!registry_event_host_valid(event.host)) {
        event.host.len = 0;
    }

    return event;
}


static registry_event_t
registry_event_of_harbor(const json_t *data, const json_t *resource)
{
    size_t             n;
    registry_str_t     url;
    registry_event_t   event;
    registry_digest_t  digest;

    memset(&event, 0, sizeof(registry_event_t));

    event.repository = registry_event_text(json_object_get(data,
                                                           "repository"),
                                           "repo_full_name");
    event.tag = registry_event_text(resource, "tag");
    event.digest = registry_event_text(resource, "digest");

    /* what has no tag may have its digest there */

    if (registry_digest_parse(event.tag, &digest) == REGISTRY_OK) {
        event.tag.len = 0;
    }

    /* "host/project/name:tag" */

    url = registry_event_text(resource, "resource_url");

    for (n = 0; n < url.len && url.data[n] != '/'; n++) {
        /* void */
    }

    event.host.data = url.data;
    event.host.len = n;

    if (n == url.len || !registry_event_host_valid(event.host)) {
        event.host.len = 0;
    }

    return event;
}


static int
registry_event_action(const json_t *name, registry_event_e *action)
{
    size_t  i;

    if (!json_is_string(name)) {
        return 0;
    }

    for (i = 0; i < REGISTRY_EVENT_NAMES; i++) {

        if (strcmp(json_string_value(name), registry_event_names[i].name)
            == 0)
        {
            *action = registry_event_names[i].action;
            return 1;
        }
    }

    return 0;
}


/* whole: a deletion may be of the whole repository */

static int
registry_event_valid(const registry_event_t *event, int whole)
{
    registry_digest_t  digest;

    if (!registry_name_valid(event->repository)) {
        return 0;
    }

    if (event->tag.len == 0 && event->digest.len == 0) {
        return whole && event->action == REGISTRY_EVENT_DELETE;
    }

    return (event->tag.len == 0 || registry_tag_valid(event->tag))
           && (event->digest.len == 0
               || registry_digest_parse(event->digest, &digest)
                  == REGISTRY_OK);
}


/* that it can stand in a log or be looked up, no more */

static int
registry_event_host_valid(registry_str_t host)
{
    char    c;
    size_t  i;

    if (host.len > REGISTRY_HOST_MAX) {
        return 0;
    }

    for (i = 0; i < host.len; i++) {
        c = host.data[i];

        if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
            && (c < '0' || c > '9')
            && (c == '\0' || strchr(".-_:[]", c) == NULL))
        {
            return 0;
        }
    }

    return 1;
}


static registry_str_t
registry_event_text(const json_t *json, const char *name)
{
    return registry_json_text(json_object_get(json, name));
}
