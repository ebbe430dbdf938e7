
/*
 * What the handlers share: configuration, and the state of a request.
 */


#ifndef NGX_HTTP_REGISTRY_H
#define NGX_HTTP_REGISTRY_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_registry_adopt.h"
#include "ngx_http_registry_cache.h"
#include "ngx_http_registry_count.h"
#include "ngx_http_registry_evict.h"
#include "ngx_http_registry_fetch.h"
#include "ngx_http_registry_fill.h"
#include "ngx_http_registry_flight.h"
#include "ngx_http_registry_prefetch.h"
#include "ngx_http_registry_remote.h"
#include "ngx_http_registry_store.h"
#include "ngx_http_registry_wake.h"
#include "ngx_http_registry_zone.h"

#include "registry_error.h"
#include "registry_query.h"
#include "registry_route.h"


#if (nginx_version < 1022001)
#error "ngx_http_registry_module requires nginx 1.22.1 or later"
#endif

#if !(NGX_THREADS)
#error "ngx_http_registry_module requires nginx --with-threads"
#endif


#define NGX_HTTP_REGISTRY_FILE_BUF  65536

#define NGX_HTTP_REGISTRY_READ      (NGX_HTTP_GET|NGX_HTTP_HEAD)

#define NGX_HTTP_REGISTRY_LOOP      508     /* RFC 5842, section 7.2 */


/* which descriptors of a pushed manifest must be in the repository */

#define NGX_HTTP_REGISTRY_REFERENCES_OFF     0
#define NGX_HTTP_REGISTRY_REFERENCES_SPARSE  1  /* not of an index */
#define NGX_HTTP_REGISTRY_REFERENCES_ON      2


/* registry_status */

#define NGX_HTTP_REGISTRY_STATUS_JSON        0
#define NGX_HTTP_REGISTRY_STATUS_PROMETHEUS  1


/* to what is hosted, and to remotes too */

#define NGX_HTTP_REGISTRY_PUSH_OFF           0
#define NGX_HTTP_REGISTRY_PUSH_ON            1
#define NGX_HTTP_REGISTRY_PUSH_PROXY         2


typedef struct {
    ngx_http_registry_zone_t           zone;
    ngx_shm_zone_t                    *shm_zone;
    size_t                             zone_size;
    ngx_array_t                        stores;    /* of store pointers,
                                                     caches among them */
    ngx_uint_t                         caches;
    ngx_array_t                        remotes;   /* of remote pointers */
    ngx_http_registry_remote_t        *remote_default;
    ngx_http_registry_memcached_t     *memcached;
    ngx_http_registry_health_t         health;
    ngx_array_t                        locations; /* of core location confs */
    ngx_http_registry_counters_t      *counters;  /* of what is hosted */
    ngx_uint_t                         status;    /* is shown somewhere */
} ngx_http_registry_main_conf_t;


typedef struct {
    ngx_flag_t                         enabled;   /* has a registry location */
    ngx_http_complex_value_t          *ns;
    u_char                            *ns_file;   /* of the directive */
    ngx_uint_t                         ns_line;
    ngx_array_t                        names;     /* of the core, copied */
} ngx_http_registry_srv_conf_t;


typedef struct {
    ngx_http_registry_remote_t        *remote;    /* NULL: any */
    ngx_str_t                          remote_name;
    ngx_str_t                          prefix;    /* of URIs */
    u_char                            *file;      /* of the directive */
    ngx_uint_t                         line;
} ngx_http_registry_purge_conf_t;


typedef struct {
    registry_str_t                     text;
    u_char                            *file;      /* of the directive */
    ngx_uint_t                         line;
} ngx_http_registry_pattern_t;


typedef struct {
    ngx_http_registry_store_t         *store;     /* NULL: nothing hosted */
    ngx_str_t                          store_name;
    u_char                            *file;      /* of "registry" */
    ngx_uint_t                         line;

    ngx_flag_t                         proxy;     /* for remotes too: */
    ngx_http_registry_remote_t        *remote;    /* this one; NULL: all */
    ngx_str_t                          remote_name;
    u_char                            *proxy_file;    /* of "registry_proxy" */
    ngx_uint_t                         proxy_line;

    ngx_http_registry_purge_conf_t    *purge;     /* NULL: nothing else */
    ngx_http_complex_value_t          *offline;
    ngx_array_t                       *local_only;  /* of patterns */

    ngx_uint_t                         push;
    ngx_flag_t                         mount;
    ngx_flag_t                         delete;
    ngx_flag_t                         catalog;
    ngx_uint_t                         references;
    off_t                              max_blob_size;
    ngx_uint_t                         status_format;
} ngx_http_registry_loc_conf_t;


typedef struct ngx_http_registry_ctx_s     ngx_http_registry_ctx_t;
typedef struct ngx_http_registry_follow_s  ngx_http_registry_follow_t;
typedef struct ngx_http_registry_purge_s   ngx_http_registry_purge_t;

/*
 * A step does a piece of a request and says what is next: NGX_OK, go on with
 * ctx->step; NGX_AGAIN, when whatever it started has ended; NGX_DONE, the
 * answer is sent and ctx->rc is how; anything else is the status to answer.
 */

typedef ngx_int_t (*ngx_http_registry_step_pt)(ngx_http_registry_ctx_t *ctx);

/*
 * Takes bytes of a request's body: NGX_OK, NGX_AGAIN (they may not be
 * touched until ngx_http_registry_resume() is called), or a status.
 */

typedef ngx_int_t (*ngx_http_registry_sink_pt)(ngx_http_registry_ctx_t *ctx,
    u_char *data, size_t len);


typedef struct {
    ngx_uint_t                         methods;
    ngx_http_registry_step_pt          step;
    ngx_http_registry_step_pt          proxy;     /* of a remote's content;
                                                     NULL: not permitted */
    ngx_str_t                          operation;
    ngx_http_registry_count_e          count;
    enum {
        NGX_HTTP_REGISTRY_MAY_PULL = 0,
        NGX_HTTP_REGISTRY_MAY_PUSH,
        NGX_HTTP_REGISTRY_MAY_DELETE,
        NGX_HTTP_REGISTRY_MAY_CATALOG
    }                                  needs;
} ngx_http_registry_method_t;


typedef struct {
    ngx_str_t                          id;
    ngx_fd_t                           fd;
    registry_hash_t                    hash;      /* length: where it stands */
    registry_hash_t                    start;     /* as it was at first */
    uint64_t                           first;     /* of Content-Range */
    uint64_t                           last;
    off_t                              synced;    /* writing back has begun */
    registry_digest_t                  digest;    /* of ?digest= */
    unsigned                           ranged:1;  /* there is Content-Range */
    unsigned                           commit:1;  /* the last request of it */
    unsigned                           mount:1;   /* a blob may be mounted */
} ngx_http_registry_upload_t;


struct ngx_http_registry_ctx_s {
    ngx_http_request_t                *request;
    ngx_http_registry_loc_conf_t      *conf;

    ngx_str_t                          uri;       /* that the route is of */
    registry_route_t                   route;
    ngx_http_registry_remote_t        *remote;    /* NULL: hosted here */
    ngx_str_t                          ns;        /* in URIs; perhaps empty */
    ngx_http_registry_remote_t        *origin;    /* of _hosted_begin() */
    ngx_str_t                          origin_name;
    ngx_http_registry_store_t         *store;     /* of either */
    ngx_str_t                          name;      /* with the namespace */
    ngx_str_t                          remote_name;   /* without it */
    ngx_str_t                          reference;
    const ngx_http_registry_method_t  *method;    /* NULL: none fits */
    registry_error_e                   route_error;

    const ngx_http_registry_method_t  *active;    /* counted as in hand */

    ngx_http_registry_step_pt          step;
    ngx_http_registry_step_pt          present;   /* of _try() */
    ngx_http_registry_step_pt          absent;
    ngx_int_t                          rc;
    ngx_http_registry_op_t            *op;        /* ours, until it is freed */
    ngx_http_registry_task_t          *task;      /* likewise */

    registry_digest_t                  digest;    /* of what is answered */
    ngx_str_t                          cache;     /* $registry_cache */
    ngx_uint_t                         found;     /* the same, to be counted;
                                                     0: not yet */

    /* the error to answer with */
    registry_error_e                   error;
    const char                        *message;   /* static, or NULL */
    registry_str_t                    *details;
    ngx_uint_t                         ndetails;
    ngx_str_t                          document;  /* until it is sent */

    /* reading a body */
    ngx_http_registry_sink_pt          sink;
    ngx_http_registry_step_pt          body_done;
    ngx_chain_t                       *body;      /* read, and not taken yet */
    off_t                              body_max;
    off_t                              body_size; /* read so far */
    u_char                            *file_buf;  /* of a body in a file */

    ngx_uint_t                         generation;  /* of a blob's link */
    ngx_http_registry_manifest_t       manifest;
    ngx_http_registry_upload_t        *upload;    /* NULL: no request of one */
    ngx_str_t                          pushed;    /* a body */
    size_t                             pushed_size;
    registry_manifest_t               *parsed;
    ngx_array_t                        tags;      /* of ngx_str_t */

    /* of a remote's content */
    ngx_http_registry_ask_t           *ask;       /* ours, until it is freed */
    ngx_http_registry_fill_t          *fill;      /* waited for */
    ngx_chain_t                       *free;      /* what is passed on */
    ngx_chain_t                       *busy;
    ngx_http_registry_step_pt          check;     /* of what is passed on */
    ngx_str_t                          mount;     /* the remote's repository
                                                     to mount from; or empty */
    off_t                              part;      /* of a blob, from here */
    off_t                              part_end;  /* to here; 0: it is none */
    ngx_uint_t                         part_tries;
    ngx_http_registry_step_pt          permitted; /* the step after that */
    ngx_uint_t                         verdict;   /* a status; 0: none came */
    ngx_http_registry_call_error_e     verdict_error;
    ngx_str_t                          retry_after;

    /* a blob that is sent while it is fetched */
    ngx_http_registry_follow_t        *follow;

    ngx_http_registry_purge_t         *purge;     /* of purge.c */

    unsigned                           running:1;
    unsigned                           body_ready:1;
    unsigned                           verdict_get:1;   /* not by HEAD */
    unsigned                           doubted:1;   /* the verdict, once */
    unsigned                           linked:1;  /* known in memory */
    unsigned                           outdated:1;  /* what is known of what
                                                       was pushed, perhaps */
    unsigned                           offline:1; /* asks no remote */
    unsigned                           hosts:1;   /* the location, the name
                                                     without namespace too */
    unsigned                           local:1;   /* it is no remote's */
    unsigned                           replaced:1;  /* the body is ours */
    unsigned                           passed:1;    /* a remote's, error or
                                                       not */
    unsigned                           versioned:1; /* the API's version is
                                                       among the headers */
};


/* request.c: the life of a request */

ngx_int_t ngx_http_registry_handler(ngx_http_request_t *r);

/* what a content handler returns whose first step this is */

ngx_int_t ngx_http_registry_begin(ngx_http_request_t *r,
    ngx_http_registry_step_pt step);

/* the request's state, made when first asked for; NULL if memory is short */

ngx_http_registry_ctx_t *ngx_http_registry_ctx(ngx_http_request_t *r);

void ngx_http_registry_resume(ngx_http_registry_ctx_t *ctx);

/* a new operation as ctx->op, about the request's repository */

ngx_http_registry_op_t *ngx_http_registry_op(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_op_e kind);

/*
 * Runs ctx->task, in a thread if "thread" is set; the step runs when it has
 * ended.
 */

ngx_int_t ngx_http_registry_run_task(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t thread, ngx_http_registry_step_pt next);

/* starts ctx->op; the step runs when it has ended, and frees it */

ngx_int_t ngx_http_registry_run_op(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next);

void ngx_http_registry_end_op(ngx_http_registry_ctx_t *ctx);

/*
 * Runs a step that answers or starts an operation; if what that is about is
 * not there, the next step is "absent" and not its own.
 */

ngx_int_t ngx_http_registry_try(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt step, ngx_http_registry_step_pt absent);

/* logs why the store failed, and says how to answer */

ngx_int_t ngx_http_registry_store_failed(ngx_http_registry_ctx_t *ctx,
    ngx_err_t err, const char *call, const char *path);

/*
 * NGX_OK if ctx->op ended so; else the operation is freed, and the status
 * says how to answer: "unknown" is the error if what it was about is not
 * there.
 */

ngx_int_t ngx_http_registry_op_result(ngx_http_registry_ctx_t *ctx,
    registry_error_e unknown);


/* endpoint.c: what ctx->uri means; an error of the route if memory is short */

void ngx_http_registry_parse(ngx_http_registry_ctx_t *ctx);

/* the first step of all requests: what it means here, and if it may be */

ngx_int_t ngx_http_registry_endpoint(ngx_http_registry_ctx_t *ctx);

/* sets the first step of a request that is a remote's */

ngx_int_t ngx_http_registry_remote_begin(ngx_http_registry_ctx_t *ctx);

/* where the request counts: its namespace's counters */

ngx_http_registry_counters_t *ngx_http_registry_counters(
    ngx_http_registry_ctx_t *ctx);


/*
 * answer.c: the first request header of that name, which is in lower case, or
 * NULL
 */

ngx_table_elt_t *ngx_http_registry_header_in(ngx_http_request_t *r,
    ngx_str_t *name);

/* the bytes are sent as they are, and their type too: no filter adds to it */

void ngx_http_registry_set_type(ngx_http_request_t *r, ngx_str_t *type);

ngx_int_t ngx_http_registry_add_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);
ngx_int_t ngx_http_registry_add_digest(ngx_http_registry_ctx_t *ctx,
    registry_digest_t *digest);

/* "/v2/NAME", with the namespace that was asked for; where it ends */

#define NGX_HTTP_REGISTRY_URI  (sizeof("/v2/") + REGISTRY_HOST_MAX            \
                                + REGISTRY_NAME_MAX)

u_char *ngx_http_registry_uri(ngx_http_registry_ctx_t *ctx, u_char *p,
    u_char *last);

/*
 * Location: /v2/NAME and the rest.  Not by r->headers_out.location, which
 * nginx would make absolute.
 */

ngx_int_t ngx_http_registry_add_location(ngx_http_registry_ctx_t *ctx,
    const char *fmt, ...);

/* an answer without a body; ends the request */

ngx_int_t ngx_http_registry_send_empty(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t status);

/* 200 with a body from memory that lives as long as the request */

ngx_int_t ngx_http_registry_send_bytes(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *type, ngx_str_t *body);

/* a step: the answer to "/v2/" */

ngx_int_t ngx_http_registry_base(ngx_http_registry_ctx_t *ctx);


/* body.c: reading a request's body as it arrives */

ngx_int_t ngx_http_registry_read_body(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_sink_pt sink, off_t max, ngx_http_registry_step_pt done);

/* the same, all of it into memory: ctx->pushed */

ngx_int_t ngx_http_registry_keep_body(ngx_http_registry_ctx_t *ctx, off_t max,
    ngx_http_registry_step_pt done);

/* the step after a sink's NGX_AGAIN: goes on reading */

ngx_int_t ngx_http_registry_body_continue(ngx_http_registry_ctx_t *ctx);


/* write.c: the sink of an upload's body */

ngx_int_t ngx_http_registry_write(ngx_http_registry_ctx_t *ctx, u_char *data,
    size_t len);


/* error.c: errors as the specification's documents */

ngx_int_t ngx_http_registry_fail(ngx_http_registry_ctx_t *ctx,
    registry_error_e error, const char *message);

/* the same with another status than the error's usual one */

ngx_int_t ngx_http_registry_fail_status(ngx_http_registry_ctx_t *ctx,
    registry_error_e error, const char *message, ngx_int_t status);

/* adds the text, which lives as long as the request, to the error's details */

void ngx_http_registry_detail(ngx_http_registry_ctx_t *ctx,
    const void *data, size_t len);

ngx_int_t ngx_http_registry_filter_init(ngx_conf_t *cf);

/* 1 if a registry answers the request, or would, had it not failed early */

ngx_uint_t ngx_http_registry_ours(ngx_http_request_t *r);


/* status.c: the directive, and what is counted when requests end */

char *ngx_http_registry_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_registry_status_init(ngx_conf_t *cf);

/*
 * status_tables.c: all that a page shows, as registry_metrics_t in the
 * request's pool; NULL if memory is short
 */

ngx_array_t *ngx_http_registry_status_tables(ngx_http_request_t *r);


/*
 * namespace.c: of the request's URI, or another one that the client named in
 * the same way, the one that says by its first component which registry it
 * means.  NGX_DECLINED if that one is not served here.
 */

ngx_int_t ngx_http_registry_canonical(ngx_http_request_t *r, ngx_str_t *in,
    ngx_str_t *uri);

/*
 * The remote of a canonical URI, or NULL; *path is the URI without it, in
 * the request's pool, or the same.  NGX_ERROR if memory is short.
 */

ngx_int_t ngx_http_registry_namespace(ngx_http_request_t *r, ngx_str_t *uri,
    ngx_http_registry_remote_t **remote, ngx_str_t *path);

ngx_int_t ngx_http_registry_namespace_init(ngx_conf_t *cf);

/* the directive; and, when all is merged, whether it means anything */

char *ngx_http_registry_set_namespace(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_registry_check_namespace(ngx_conf_t *cf,
    ngx_http_registry_srv_conf_t *sscf);


/* store_conf.c: the directives, and what is defined; NULL if there is none */

char *ngx_http_registry_store(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_http_registry_store_t *ngx_http_registry_find_store(
    ngx_http_registry_main_conf_t *mcf, ngx_str_t *name);

/* the namespaces of "adopt", when the remotes are known */

ngx_int_t ngx_http_registry_adopts_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf);


/*
 * manager.c: has nginx start its cache manager process; in a worker, for
 * "master_process off", where there is none
 */

ngx_int_t ngx_http_registry_manager_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf);
void ngx_http_registry_manager_init_process(ngx_cycle_t *cycle);


/* the location is ours, for what the handler does */

char *ngx_http_registry_serve(ngx_conf_t *cf, ngx_http_handler_pt handler);


/* remote_params.c: the directive */

char *ngx_http_registry_remote(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* remote_conf.c: settings that are not set yet */

void ngx_http_registry_remote_unset(
    ngx_http_registry_remote_t *remote);

/* by name or alias; NULL if there is none */

ngx_http_registry_remote_t *ngx_http_registry_find_remote(
    ngx_http_registry_main_conf_t *mcf, ngx_str_t *name);

/* when all is read, and when all is merged */

ngx_int_t ngx_http_registry_remotes_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf);
ngx_int_t ngx_http_registry_remotes_start(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf);

/* location.c: 1 if both URIs are found in the same location, else 0 */

ngx_uint_t ngx_http_registry_same_location(ngx_http_request_t *r,
    ngx_str_t *one, ngx_str_t *two);

/*
 * 1 if the rules for the URI are those of the request: it is found in the
 * same location, or in none that is about repositories; else 0.
 */

ngx_uint_t ngx_http_registry_same_rules(ngx_http_request_t *r,
    ngx_str_t *uri);


/* variables.c */

ngx_int_t ngx_http_registry_add_variables(ngx_conf_t *cf);


/* the first steps of the endpoints: blob.c, upload.c, manifest.c, list.c */

ngx_int_t ngx_http_registry_pull_blob(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_delete_blob(ngx_http_registry_ctx_t *ctx);

ngx_int_t ngx_http_registry_start_upload(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_append_upload(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_finish_upload(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_upload_status(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_cancel_upload(ngx_http_registry_ctx_t *ctx);

/* a digest in the query; NGX_DECLINED if there is no such parameter */

ngx_int_t ngx_http_registry_upload_arg(ngx_http_registry_ctx_t *ctx,
    const char *name, registry_digest_t *digest);

/*
 * Before an error is answered: what the status says of the session has to be
 * true when the client reads it.  Goes on as a step does.
 */

ngx_int_t ngx_http_registry_upload_failed(ngx_http_registry_ctx_t *ctx,
    ngx_int_t status);

/* for a request that is gone: lets go of its session, if it has one */

void ngx_http_registry_upload_cleanup(ngx_http_registry_ctx_t *ctx);

/*
 * mount.c: 201, or goes on with the step that is set, if the mount that the
 * request asks for is not granted
 */

ngx_int_t ngx_http_registry_mount(ngx_http_registry_ctx_t *ctx);

/*
 * The same at a remote: sets ctx->digest and *from, by the remote's own name,
 * if the client asks for a mount and may pull there.  NGX_DECLINED: it does
 * not or may not; else how to answer.
 */

ngx_int_t ngx_http_registry_mount_remote(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *from);

/* 201, for a blob that was mounted or uploaded */

ngx_int_t ngx_http_registry_blob_created(ngx_http_registry_ctx_t *ctx);

ngx_int_t ngx_http_registry_pull_manifest(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_push_manifest(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_delete_manifest(ngx_http_registry_ctx_t *ctx);

/* sets ctx->tags: that of the URI, or those of ?tag= beside a digest */

ngx_int_t ngx_http_registry_push_tags(ngx_http_registry_ctx_t *ctx);

/*
 * Ends the request from outside of a step, as a step would that returned
 * NGX_DONE with ctx->rc.  It may be gone afterwards.
 */

void ngx_http_registry_end(ngx_http_registry_ctx_t *ctx, ngx_int_t rc);

/* sets $registry_cache; the last one is counted */

void ngx_http_registry_found(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_count_e how);

/* fills in ctx->manifest: of the tag, or if NULL of ctx->digest */

void ngx_http_registry_manifest_key(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *tag);
ngx_int_t ngx_http_registry_send_manifest(ngx_http_registry_ctx_t *ctx);

/* what ctx->op has read, into ctx->manifest; frees it, unless NGX_ERROR */

ngx_int_t ngx_http_registry_take_manifest(ngx_http_registry_ctx_t *ctx);

/* opens ctx->digest in the store; the next step may send it */

ngx_int_t ngx_http_registry_open_blob(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next);
ngx_int_t ngx_http_registry_send_blob(ngx_http_registry_ctx_t *ctx);


/*
 * proxy.c: a request to ctx->remote for this one, as ctx->ask; NULL if memory
 * is short
 */

ngx_http_registry_ask_t *ngx_http_registry_ask_for(
    ngx_http_registry_ctx_t *ctx, ngx_str_t *method);

/* what the client showed, if that is the remote's business; else empty */

void ngx_http_registry_client_authorization(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *value);

ngx_int_t ngx_http_registry_client_via(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *value);

ngx_int_t ngx_http_registry_remote_path(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *path);

/* how to answer what a remote answered, or that it did not */

ngx_int_t ngx_http_registry_remote_status(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *retry_after, registry_error_e unknown);
ngx_int_t ngx_http_registry_remote_error(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_call_error_e error);

/* the same for the answer of ctx->ask */

ngx_int_t ngx_http_registry_remote_refused(ngx_http_registry_ctx_t *ctx,
    registry_error_e unknown);


/*
 * pass.c: 1 if the query and the fields are such as can be sent on, else 0.
 * It looks at all of them, so it is for what does ask the remote.
 */

ngx_uint_t ngx_http_registry_passable(ngx_http_request_t *r);

/* the remote's answer to this path goes to the client as it comes */

ngx_int_t ngx_http_registry_pass(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *path);

/*
 * The ask for that, to be started by the caller; NULL if memory is short.
 * When its answer's head has come, check() says NGX_OK to pass it on,
 * NGX_DECLINED to forget it and go on with the step that it has set, or how
 * to end the request.
 */

ngx_http_registry_ask_t *ngx_http_registry_pass_ask(
    ngx_http_registry_ctx_t *ctx, ngx_str_t *path,
    ngx_http_registry_step_pt check);


/*
 * follow.c: a blob of ctx->remote that its store does not have: it is fetched
 * and sent at the same time.  The step "found" is to ask the store again;
 * "pass" gets what is asked for from the remote, without a copy.
 */

ngx_int_t ngx_http_registry_follow(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt found, ngx_http_registry_step_pt pass);


/*
 * send.c: sends what there is, and with NULL what was left over.  NGX_OK: the
 * client has it all; NGX_AGAIN: ctx->step runs when it has taken more, if
 * ngx_http_registry_writer() is the request's write_event_handler.
 */

ngx_int_t ngx_http_registry_send(ngx_http_registry_ctx_t *ctx,
    ngx_chain_t *out);
void ngx_http_registry_writer(ngx_http_request_t *r);


/* verdict.c: goes on with the step if the client may have what it wants */

ngx_int_t ngx_http_registry_permitted(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next);

/*
 * The same if the remote has refused, with this status, what it permits:
 * another one's credentials were shown, or they are not good any more.
 * NGX_DECLINED: that is the answer.
 */

ngx_int_t ngx_http_registry_doubted(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t status, ngx_http_registry_step_pt next);

/* the remote's WWW-Authenticate, for the client's answer */

ngx_int_t ngx_http_registry_challenge(ngx_http_registry_ctx_t *ctx,
    registry_http_response_t *response);


/* the first steps where a remote has the content: proxy.c */

ngx_int_t ngx_http_registry_proxy_base(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_proxy_list(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_proxy_manifest(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_proxy_blob(ngx_http_registry_ctx_t *ctx);

/* the same of all pushes, and what these need: push.c */

ngx_int_t ngx_http_registry_proxy_push(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_push_init(ngx_conf_t *cf);


/*
 * hosted.c: locations with what is hosted and with remotes.  The directive,
 * and what is wrong with what it says.
 */

char *ngx_http_registry_local_only(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_registry_merge_local_only(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *prev, ngx_http_registry_loc_conf_t *conf);

/* sets ctx->hosts and ctx->local; NGX_ERROR if memory is short */

ngx_int_t ngx_http_registry_hosted(ngx_http_registry_ctx_t *ctx);

/* 1 if what has this name, without a namespace, is no remote's here, else 0 */

ngx_uint_t ngx_http_registry_is_local(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *name);

/* whose a request with this method is */

typedef enum {
    NGX_HTTP_REGISTRY_SIDE_REMOTE = 0,
    NGX_HTTP_REGISTRY_SIDE_FIRST,       /* hosted, or else the remote's */
    NGX_HTTP_REGISTRY_SIDE_HOSTED
} ngx_http_registry_side_e;

ngx_http_registry_side_e ngx_http_registry_side(ngx_http_registry_ctx_t *ctx,
    const ngx_http_registry_method_t *method);

/* makes it one that is hosted here, and looks whether it is */

void ngx_http_registry_hosted_begin(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_hosted_first(ngx_http_registry_ctx_t *ctx);


/* offline.c: the directive, and what the location has said */

char *ngx_http_registry_set_offline(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* 1 if a location with this is never online, else 0 */

ngx_uint_t ngx_http_registry_is_offline(ngx_http_complex_value_t *value);

/* sets ctx->offline; NGX_ERROR if memory is short */

ngx_int_t ngx_http_registry_offline(ngx_http_registry_ctx_t *ctx);

/* the first step then, and the answer to what cannot be answered */

ngx_int_t ngx_http_registry_offline_begin(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_offline_refuse(ngx_http_registry_ctx_t *ctx);


/* purge.c: the directive, and what a location inherits of it */

char *ngx_http_registry_purge(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_registry_merge_purge(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *prev, ngx_http_registry_loc_conf_t *conf);

/* 1 if the request was found in such a location, else 0 */

ngx_uint_t ngx_http_registry_purges(ngx_http_request_t *r);


ngx_int_t ngx_http_registry_list_tags(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_list_catalog(ngx_http_registry_ctx_t *ctx);
ngx_int_t ngx_http_registry_list_referrers(ngx_http_registry_ctx_t *ctx);


#define ngx_http_registry_zone(r)                                             \
    (&((ngx_http_registry_main_conf_t *)                                      \
       ngx_http_get_module_main_conf(r, ngx_http_registry_module))->zone)


extern ngx_module_t  ngx_http_registry_module;
extern ngx_module_t  ngx_http_registry_conf_module;


#endif /* NGX_HTTP_REGISTRY_H */
