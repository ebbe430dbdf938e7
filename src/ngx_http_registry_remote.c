
/*
 * What is known of a remote between requests, in the zone: that it does not
 * answer, what it asks for, what it says of its limits.
 */


#include "ngx_http_registry_remote.h"

#include "registry_ratelimit.h"

#include <openssl/rand.h>


/* a remote that does not answer is asked again: milliseconds */
#define NGX_HTTP_REGISTRY_REMOTE_AGAIN   5000


/*
 * How a remote fares, and apart from it its "push_url", if it has one; the
 * key in the zone is 'r', its id, and 1 for that, else 0.
 */

typedef struct {
    ngx_msec_t  again;          /* when to ask it next */
    ngx_msec_t  logged;
} ngx_http_registry_fares_t;


#define NGX_HTTP_REGISTRY_FARES_KEY  (1 + sizeof(uint32_t) + 1)


static ngx_http_registry_entry_t *ngx_http_registry_remote_fares(
    ngx_http_registry_remote_t *remote, ngx_uint_t pushed,
    ngx_http_registry_fares_t *fares);
static void ngx_http_registry_remote_key(ngx_http_registry_remote_t *remote,
    ngx_uint_t pushed, u_char *buf, ngx_str_t *key, uint32_t *hash);
static void ngx_http_registry_remote_storage(ngx_http_registry_ask_t *ask,
    ngx_uint_t status);
static void ngx_http_registry_remote_limits(ngx_http_registry_ask_t *ask);


ngx_str_t  ngx_http_registry_via;

static u_char  ngx_http_registry_via_text[sizeof("ngx-registry-") - 1 + 16];


ngx_int_t
ngx_http_registry_via_init(ngx_log_t *log)
{
    u_char  *p, random[8];

    if (ngx_http_registry_via.len) {
        return NGX_OK;
    }

    if (RAND_bytes(random, sizeof(random)) != 1) {
        ngx_log_error(NGX_LOG_EMERG, log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    p = ngx_cpymem(ngx_http_registry_via_text, "ngx-registry-",
                   sizeof("ngx-registry-") - 1);
    p = ngx_hex_dump(p, random, sizeof(random));

    ngx_http_registry_via.data = ngx_http_registry_via_text;
    ngx_http_registry_via.len = p - ngx_http_registry_via_text;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_remote_up(ngx_http_registry_remote_t *remote)
{
    ngx_int_t                   rc;
    ngx_http_registry_entry_t  *entry;
    ngx_http_registry_fares_t   fares;

    rc = NGX_OK;

    ngx_http_registry_zone_lock(remote->zone);

    entry = ngx_http_registry_remote_fares(remote, 0, &fares);

    if (entry) {
        rc = NGX_DECLINED;

        if ((ngx_msec_int_t) (ngx_current_msec - fares.again) >= 0) {
            fares.again = ngx_current_msec + NGX_HTTP_REGISTRY_REMOTE_AGAIN;
            ngx_memcpy(entry->data + entry->key_len, &fares, sizeof(fares));
            rc = NGX_AGAIN;
        }
    }

    ngx_http_registry_zone_unlock(remote->zone);

    return rc;
}


/* NULL: it answers */

static ngx_http_registry_entry_t *
ngx_http_registry_remote_fares(ngx_http_registry_remote_t *remote,
    ngx_uint_t pushed, ngx_http_registry_fares_t *fares)
{
    u_char                      buf[NGX_HTTP_REGISTRY_FARES_KEY];
    uint32_t                    hash;
    ngx_str_t                   key;
    ngx_http_registry_entry_t  *entry;

    ngx_http_registry_remote_key(remote, pushed, buf, &key, &hash);

    entry = ngx_http_registry_zone_find(remote->zone, &key, hash);

    if (entry) {
        ngx_memcpy(fares, entry->data + entry->key_len, sizeof(*fares));
    }

    return entry;
}


static void
ngx_http_registry_remote_key(ngx_http_registry_remote_t *remote,
    ngx_uint_t pushed, u_char *buf, ngx_str_t *key, uint32_t *hash)
{
    buf[0] = 'r';
    ngx_memcpy(buf + 1, &remote->id, sizeof(uint32_t));
    buf[1 + sizeof(uint32_t)] = (u_char) pushed;

    key->data = buf;
    key->len = NGX_HTTP_REGISTRY_FARES_KEY;
    *hash = ngx_murmur_hash2(buf, key->len);
}


/*
 * With a status: this is logged once a minute, not once a pull.  Without one
 * the client has said why there was no answer.
 */

void
ngx_http_registry_remote_failed(ngx_http_registry_ask_t *ask,
    ngx_uint_t status)
{
    u_char                       buf[NGX_HTTP_REGISTRY_FARES_KEY];
    uint32_t                     hash;
    ngx_str_t                    key, value, none;
    ngx_uint_t                   log, pushed;
    registry_str_t               path;
    ngx_http_registry_remote_t  *remote;
    ngx_http_registry_fares_t    fares;

    if (ask->blob && ask->foreign) {
        ngx_http_registry_remote_storage(ask, status);
        return;
    }

    remote = ask->remote;
    pushed = ngx_http_registry_remote_apart(remote, ask->push);
    ngx_str_set(&none, "");

    ngx_http_registry_zone_lock(remote->zone);

    if (ngx_http_registry_remote_fares(remote, pushed, &fares) == NULL) {
        fares.logged = ngx_current_msec - NGX_HTTP_REGISTRY_REMOTE_LOG;
    }

    log = (status && ngx_current_msec - fares.logged
                     >= NGX_HTTP_REGISTRY_REMOTE_LOG);

    if (log) {
        fares.logged = ngx_current_msec;
    }

    fares.again = ngx_current_msec + NGX_HTTP_REGISTRY_REMOTE_AGAIN;

    ngx_http_registry_remote_key(remote, pushed, buf, &key, &hash);
    value.data = (u_char *) &fares;
    value.len = sizeof(fares);

    (void) ngx_http_registry_zone_put(remote->zone, &key, hash, &value,
                                      &none);

    ngx_http_registry_zone_unlock(remote->zone);

    if (log) {
        path = registry_url_shown(ask->url.path);

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "registry_remote \"%V\" answers %ui, peer \"%V\", "
                      "\"%V %*s\"", &remote->name, status, &ask->peer,
                      &ask->method, path.len, path.data);
    }
}


/* says nothing of the remote, which has answered before */

static void
ngx_http_registry_remote_storage(ngx_http_registry_ask_t *ask,
    ngx_uint_t status)
{
    registry_str_t               path;
    ngx_http_registry_remote_t  *remote;

    remote = ask->remote;

    if (status == 0
        || (remote->storage
            && ngx_current_msec - remote->storage
               < NGX_HTTP_REGISTRY_REMOTE_LOG))
    {
        return;
    }

    remote->storage = ngx_current_msec;
    path = registry_url_shown(ask->url.path);

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "registry_remote \"%V\": storage \"%*s\" answers %ui, "
                  "peer \"%V\", \"%V %*s\"", &remote->name,
                  ask->url.authority.len, ask->url.authority.data, status,
                  &ask->peer, &ask->method, path.len, path.data);
}


void
ngx_http_registry_remote_answered(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_entry_t   *entry;
    ngx_http_registry_fares_t    fares;
    ngx_http_registry_remote_t  *remote;

    if (ask->blob && ask->foreign) {
        return;
    }

    remote = ask->remote;

    ngx_http_registry_zone_lock(remote->zone);

    entry = ngx_http_registry_remote_fares(remote,
                         ngx_http_registry_remote_apart(remote, ask->push),
                         &fares);

    if (entry) {
        ngx_http_registry_zone_delete(remote->zone, entry);
    }

    ngx_http_registry_zone_unlock(remote->zone);

    if (entry) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "registry_remote \"%V\" answers again",
                      &remote->name);
    }
}


ngx_uint_t
ngx_http_registry_remote_known(ngx_http_registry_remote_t *remote)
{
    registry_challenge_t       challenge;
    ngx_http_registry_grant_t  grant;

    ngx_memzero(&grant, sizeof(ngx_http_registry_grant_t));

    grant.zone = remote->zone;
    grant.login = &remote->login;
    grant.remote = remote->id;
    grant.pushed = ngx_http_registry_remote_apart(remote, 1);

    return ngx_http_registry_challenge_find(&grant, &challenge) == NGX_OK;
}


/* it asks for nothing: kept as a challenge that there is no answer to */

void
ngx_http_registry_remote_open(ngx_http_registry_ask_t *ask)
{
    registry_challenge_t        challenge;
    ngx_http_registry_grant_t   grant;

    ngx_memzero(&grant, sizeof(ngx_http_registry_grant_t));

    grant.zone = ask->remote->zone;
    grant.login = &ask->remote->login;
    grant.remote = ask->remote->id;
    grant.pushed = ngx_http_registry_remote_apart(ask->remote, ask->push);

    if (ngx_http_registry_challenge_find(&grant, &challenge) == NGX_OK) {
        return;
    }

    ngx_memzero(&challenge, sizeof(registry_challenge_t));
    challenge.scheme = REGISTRY_CHALLENGE_OTHER;

    ngx_http_registry_challenge_keep(&grant, &challenge);
}


void
ngx_http_registry_remote_count(ngx_http_registry_ask_t *ask)
{
    int64_t                        seconds;
    const registry_str_t          *field;
    ngx_http_registry_counters_t  *counters;

    counters = ask->remote->counters;

    if (ask->response->status == NGX_HTTP_TOO_MANY_REQUESTS) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_LIMITED);

    } else if (ask->response->status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_FAILED);

    } else {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_ANSWERED);
    }

    /* where blobs are kept there may be limits too, but others */

    if (ask->foreign) {
        return;
    }

    ngx_http_registry_remote_limits(ask);

    field = registry_http_field(ask->response, "retry-after");

    if (field && registry_retry_after(*field, ngx_time(), &seconds)
                 == REGISTRY_OK)
    {
        counters->count[NGX_HTTP_REGISTRY_COUNT_RETRY_AT] = ngx_time()
                                                            + seconds;
    }
}


/* Docker Hub says them with a manifest, others with every answer */

static void
ngx_http_registry_remote_limits(ngx_http_registry_ask_t *ask)
{
    const registry_str_t          *field;
    registry_ratelimit_t           limit, remaining;
    ngx_http_registry_counters_t  *counters;

    field = registry_http_field(ask->response, "ratelimit-limit");

    if (field == NULL
        || registry_ratelimit_parse(*field, &limit) != REGISTRY_OK)
    {
        return;
    }

    field = registry_http_field(ask->response, "ratelimit-remaining");

    if (field == NULL
        || registry_ratelimit_parse(*field, &remaining) != REGISTRY_OK)
    {
        return;
    }

    counters = ask->remote->counters;

    counters->count[NGX_HTTP_REGISTRY_COUNT_RATE_LIMIT] = limit.requests;
    counters->count[NGX_HTTP_REGISTRY_COUNT_RATE_REMAINING] =
                                                          remaining.requests;
    counters->count[NGX_HTTP_REGISTRY_COUNT_RATE_WINDOW] = limit.window;
}


ngx_uint_t
ngx_http_registry_remote_answers(ngx_http_registry_remote_t *remote)
{
    ngx_uint_t                 answers;
    ngx_http_registry_fares_t  fares;

    ngx_http_registry_zone_lock(remote->zone);

    answers = (ngx_http_registry_remote_fares(remote, 0, &fares) == NULL);

    ngx_http_registry_zone_unlock(remote->zone);

    return answers;
}


ngx_uint_t
ngx_http_registry_remote_stale(ngx_http_registry_remote_t *remote,
    time_t since, ngx_uint_t status, ngx_http_registry_call_error_e error)
{
    ngx_uint_t  why;

    if (ngx_time() - since > remote->stale_for) {
        return 0;
    }

    if (status == NGX_HTTP_TOO_MANY_REQUESTS) {
        why = NGX_HTTP_REGISTRY_STALE_429;

    } else if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        why = NGX_HTTP_REGISTRY_STALE_5XX;

    } else if (status == NGX_HTTP_UNAUTHORIZED
               || status == NGX_HTTP_FORBIDDEN
               || status == NGX_HTTP_NOT_FOUND)
    {
        return 0;

    } else if (error == NGX_HTTP_REGISTRY_CALL_TIMEOUT) {
        why = NGX_HTTP_REGISTRY_STALE_TIMEOUT;

    } else {

        /* any other status says nothing of what was asked for */

        why = NGX_HTTP_REGISTRY_STALE_ERROR;
    }

    return (remote->use_stale & why) ? 1 : 0;
}
