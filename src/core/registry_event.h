
/*
 * Notifications of what was pushed to another registry or deleted there:
 * Distribution's "Notifications", Harbor's webhooks in both of their formats.
 */


#ifndef REGISTRY_EVENT_H
#define REGISTRY_EVENT_H


#include "registry_types.h"


#define REGISTRY_EVENTS_DOCUMENT_MAX  1048576   /* bytes */
#define REGISTRY_EVENTS_MAX           1000      /* in a document */


typedef enum {
    REGISTRY_EVENT_PUSH = 0,
    REGISTRY_EVENT_DELETE
} registry_event_e;


/*
 * Points into the document; not terminated.  A push has a tag or a digest or
 * both; a deletion that has neither, only of Distribution's, is of the whole
 * repository.  The digest may be a blob's.
 */

typedef struct {
    registry_event_e    action;
    registry_str_t      host;           /* or host:port, as it calls itself;
                                           not to be trusted, may be empty */
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
 * that are neither a push (a mount is one) nor a deletion, are skipped.  It
 * may be that none is left.  To be freed with registry_events_free() if
 * REGISTRY_OK is returned.
 *
 * REGISTRY_UNSUPPORTED if the document is of no known form, REGISTRY_INVALID
 * if it is no JSON object, nested too deeply, or larger than
 * REGISTRY_EVENTS_DOCUMENT_MAX or REGISTRY_EVENTS_MAX; REGISTRY_NOMEM.
 */

registry_status_e registry_events_parse(registry_str_t json,
    registry_events_t *events);

/* does nothing the second time */

void registry_events_free(registry_events_t *events);


#endif /* REGISTRY_EVENT_H */
