
/*
 * Notifications of what was pushed to another registry or deleted there:
 * Distribution's "Notifications", Harbor's webhooks in both of their formats.
 */


#ifndef REGISTRY_EVENT_H
#define REGISTRY_EVENT_H


#include "registry_types.h"


#define REGISTRY_EVENTS_DOCUMENT_MAX  1048576   /* bytes */


typedef enum {
    REGISTRY_EVENT_PUSH = 0,
    REGISTRY_EVENT_DELETE
} registry_event_e;


/* points into the events; tag or digest or both may be empty */

typedef struct {
    registry_event_e    action;
    registry_str_t      repository;
    registry_str_t      tag;
    registry_str_t      digest;
} registry_event_t;


typedef struct {
    size_t              n;
    registry_event_t   *events;
    size_t              skipped;        /* malformed, or of no interest */
    void               *document;       /* what the events point into */
} registry_events_t;


/*
 * Events whose repository, tag or digest does not pass its grammar, and those
 * that are neither a push nor a deletion (a mount is a push), are skipped.
 * With no event of interest the result is REGISTRY_OK and n is 0.
 * REGISTRY_UNSUPPORTED if the document is of no known form, REGISTRY_INVALID
 * if it is no JSON object, too large or nested too deeply; REGISTRY_NOMEM.
 */

registry_status_e registry_events_parse(registry_str_t json,
    registry_events_t *events);

void registry_events_free(registry_events_t *events);


#endif /* REGISTRY_EVENT_H */
