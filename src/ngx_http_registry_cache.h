
/*
 * The cache of manifests in front of the stores.  A tag is believed for its
 * store's tag_valid and then looked up again; so is a manifest, and the link
 * of a repository to a blob, since another program may delete them from the
 * same store.
 */


#ifndef NGX_HTTP_REGISTRY_CACHE_H
#define NGX_HTTP_REGISTRY_CACHE_H


#include "ngx_http_registry_store.h"
#include "ngx_http_registry_zone.h"


#define NGX_HTTP_REGISTRY_CACHE_BODY  (256 * 1024)  /* more is not kept */


typedef struct {
    ngx_http_registry_zone_t   *zone;
    ngx_http_registry_store_t  *store;
    ngx_str_t                   name;
    ngx_str_t                   tag;        /* empty: by digest */
    ngx_msec_t                  valid;      /* how long it is believed */
    unsigned                    fixed:1;    /* by digest: for ever */
    unsigned                    pulled:1;   /* by a client, with "prefetch" */

    /*
     * It came from elsewhere, and was not "pulled" since: out, for one who
     * pulls it, and in for _fill().
     */
    unsigned                    fresh:1;

    registry_digest_t           digest;     /* in, or out if by tag */

    /* out, in the pool */
    ngx_str_t                   media_type;
    ngx_str_t                   body;
    ngx_msec_t                  age;        /* since it was known to be true */

    /* taken by ngx_http_registry_cache_get(), wanted by _fill() */
    ngx_uint_t                  generation;
    uint32_t                    purges;
} ngx_http_registry_manifest_t;


/*
 * NGX_OK: there, and to be believed.  NGX_AGAIN: there, but to be looked up
 * again; all is set.  NGX_DECLINED: not there.  NGX_ERROR: no memory.
 */

ngx_int_t ngx_http_registry_cache_get(ngx_http_registry_manifest_t *m,
    ngx_pool_t *pool);

/*
 * What was read from the store, unless it was written meanwhile; a tag that
 * was known to be true as long ago as "age" says.
 */

void ngx_http_registry_cache_fill(ngx_http_registry_manifest_t *m);

/* it was looked up again and is still true */

void ngx_http_registry_cache_confirm(ngx_http_registry_manifest_t *m);

/*
 * The tag, or if there is none the manifest, is about to be written or
 * deleted, or was: what is kept of it goes, also that it is not there, and
 * what others are about to fill in is refused.
 */

void ngx_http_registry_cache_forget(ngx_http_registry_manifest_t *m);

/* it was looked up again and is gone; nobody wrote anything here */

void ngx_http_registry_cache_drop(ngx_http_registry_manifest_t *m);

/* the same, and what others are about to write to a store is refused too */

void ngx_http_registry_cache_purge(ngx_http_registry_manifest_t *m);

/*
 * The same of the whole repository, or of all whose names begin with the same
 * component, and those of a few others.
 */

void ngx_http_registry_cache_purge_all(ngx_http_registry_zone_t *zone,
    ngx_str_t *name, ngx_uint_t all);

/* 1 if there was nothing of the kind since _get(), else 0 */

ngx_uint_t ngx_http_registry_cache_current(ngx_http_registry_manifest_t *m);

/* the same of purges alone */

ngx_uint_t ngx_http_registry_cache_unpurged(ngx_http_registry_manifest_t *m);

/* a number that every purge of something of the repository moves on */

uint32_t ngx_http_registry_cache_purges(ngx_http_registry_zone_t *zone,
    ngx_str_t *name);

/*
 * When there was, in seconds, of this repository or one of a few others; 0 if
 * never.  Until then what other nodes have said may not be true any more.
 */

time_t ngx_http_registry_cache_changed(ngx_http_registry_manifest_t *m);

/* it is not there: remembered, until something is filled in or written */

void ngx_http_registry_cache_absent(ngx_http_registry_manifest_t *m);

/* 1 if that was remembered within so many milliseconds, else 0 */

ngx_uint_t ngx_http_registry_cache_is_absent(ngx_http_registry_manifest_t *m,
    ngx_msec_t valid);


/*
 * Links: that a repository has a blob.  NGX_OK if it is known to, else
 * NGX_DECLINED, and "generation" is what _link() wants.
 */

ngx_int_t ngx_http_registry_cache_linked(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest, ngx_uint_t *generation);

/* the store was seen to have the link, unless it was deleted meanwhile */

void ngx_http_registry_cache_link(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest, ngx_uint_t generation);

/* the link is about to be deleted, or was */

void ngx_http_registry_cache_unlink(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest);


/* Anonymous mounts: which repository was last seen to have a blob. */

void ngx_http_registry_cache_blob(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest);

/* the repository's name in the pool; empty if none is known */

ngx_int_t ngx_http_registry_cache_blob_of(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, registry_digest_t *digest,
    ngx_str_t *name, ngx_pool_t *pool);


#endif /* NGX_HTTP_REGISTRY_CACHE_H */
