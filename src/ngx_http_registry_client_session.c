
/*
 * TLS sessions to be resumed.  They are a client's and a worker's, and not
 * a server's of an upstream {}, where others with other settings would resume
 * them too.
 */


#include "ngx_http_registry_client_exchange.h"


#if (NGX_SSL)


/*
 * It is the server's of that name if it was made with that context; what
 * another one has in the slot is forgotten.
 */

ngx_http_registry_session_t *
ngx_http_registry_session(ngx_http_registry_client_state_t *state,
    SSL_CTX *ctx, u_char *name, size_t len)
{
    u_char                        lower[NGX_HTTP_REGISTRY_SESSION_NAME];
    ngx_uint_t                    i;
    ngx_http_registry_session_t  *slot;

    len = ngx_min(len, NGX_HTTP_REGISTRY_SESSION_NAME);

    i = ngx_hash_strlow(lower, name, len) + (ctx == state->tls.ssl[1].ctx);

    slot = &state->tls.sessions[i % NGX_HTTP_REGISTRY_SESSIONS];

    if (slot->ctx == ctx
        && slot->len == len
        && ngx_memcmp(slot->name, lower, len) == 0)
    {
        return slot;
    }

    if (slot->session) {
        ngx_ssl_free_session(slot->session);
        slot->session = NULL;
    }

    slot->ctx = ctx;
    slot->len = len;
    ngx_memcpy(slot->name, lower, len);

    return slot;
}


int
ngx_http_registry_session_new(ngx_ssl_conn_t *ssl_conn,
    ngx_ssl_session_t *session)
{
    SSL_CTX                           *ctx;
    const char                        *name;
    ngx_http_registry_session_t       *slot;
    ngx_http_registry_client_state_t  *state;

    ctx = SSL_get_SSL_CTX(ssl_conn);
    state = ngx_ssl_get_server_conf(ctx);
    name = SSL_get_servername(ssl_conn, TLSEXT_NAMETYPE_host_name);

    if (name == NULL
        || (ctx != state->tls.ssl[0].ctx && ctx != state->tls.ssl[1].ctx))
    {
        /* an address, or the certificates have changed meanwhile */
        return 0;
    }

    slot = ngx_http_registry_session(state, ctx, (u_char *) name,
                                     ngx_strlen(name));

    if (slot->session) {
        ngx_ssl_free_session(slot->session);
    }

    slot->session = session;

    /* the reference is ours now */

    return 1;
}


void
ngx_http_registry_session_forget(ngx_http_registry_client_state_t *state)
{
    ngx_uint_t                    i;
    ngx_http_registry_session_t  *slot;

    for (i = 0; i < NGX_HTTP_REGISTRY_SESSIONS; i++) {
        slot = &state->tls.sessions[i];

        if (slot->session) {
            ngx_ssl_free_session(slot->session);
            slot->session = NULL;
        }

        slot->ctx = NULL;
    }
}


#endif
