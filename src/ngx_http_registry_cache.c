
/*
 * Manifests, tags and links in the shared zone.  Keys: how often the
 * repository was purged, the store, one byte for what it is, the repository, a
 * zero, and the tag or digest.
 */


#include "ngx_http_registry_cache.h"


#define NGX_HTTP_REGISTRY_CACHE_TAG       't'
#define NGX_HTTP_REGISTRY_CACHE_MANIFEST  'm'
#define NGX_HTTP_REGISTRY_CACHE_BLOB      'b'
#define NGX_HTTP_REGISTRY_CACHE_LINK      'l'
#define NGX_HTTP_REGISTRY_CACHE_ABSENT    'n'


/* another worker's clock may be a little ahead */

#define ngx_http_registry_cache_age(entry)                                    \
    ((ngx_msec_int_t) (ngx_current_msec - (entry)->checked))


typedef struct {
    ngx_str_t  text;
    uint32_t   hash;
    uint32_t   name;        /* a hash of the repository */
    u_char     data[3 * sizeof(uint32_t) + 1 + REGISTRY_NAME_MAX + 1
                    + REGISTRY_DIGEST_MAX];
} ngx_http_registry_key_t;


static ngx_str_t  ngx_http_registry_nothing = ngx_string("");


static void ngx_http_registry_cache_key(ngx_http_registry_key_t *key,
    ngx_http_registry_zone_t *zone, ngx_http_registry_store_t *store,
    u_char kind, ngx_str_t *name, const void *reference, size_t len);
static uint32_t ngx_http_registry_cache_first(ngx_str_t *name);
static void ngx_http_registry_cache_manifest_key(ngx_http_registry_key_t *key,
    ngx_http_registry_manifest_t *m);
static ngx_int_t ngx_http_registry_cache_find(ngx_http_registry_manifest_t *m,
    ngx_http_registry_key_t *key, ngx_http_registry_entry_t **tag,
    ngx_http_registry_entry_t **entry);
static void ngx_http_registry_cache_remove(ngx_http_registry_zone_t *zone,
    ngx_http_registry_key_t *key, ngx_uint_t changed);
static ngx_int_t ngx_http_registry_cache_copy(ngx_http_registry_manifest_t *m,
    ngx_http_registry_entry_t *entry, ngx_pool_t *pool);
static void ngx_http_registry_cache_present(ngx_http_registry_manifest_t *m);
static void ngx_http_registry_cache_absent_key(ngx_http_registry_key_t *key,
    ngx_http_registry_manifest_t *m);


ngx_int_t
ngx_http_registry_cache_get(ngx_http_registry_manifest_t *m,
    ngx_pool_t *pool)
{
    ngx_int_t                   rc;
    ngx_msec_int_t              age;
    ngx_http_registry_key_t     key;
    ngx_http_registry_zone_t   *zone;
    ngx_http_registry_entry_t  *tag, *entry;

    zone = m->zone;

    ngx_http_registry_cache_manifest_key(&key, m);

    ngx_http_registry_zone_lock(zone);

    m->generation = ngx_http_registry_zone_generation(zone, key.name);
    m->purges = ngx_http_registry_cache_purges(zone, &m->name);

    rc = ngx_http_registry_cache_find(m, &key, &tag, &entry);

    if (rc == NGX_OK) {

        age = m->fixed ? 0 : ngx_http_registry_cache_age(entry);

        if (tag) {
            age = ngx_max(age, ngx_http_registry_cache_age(tag));
        }

        m->age = ngx_max(age, 0);

        if (m->age >= m->valid && (tag || !m->fixed)) {
            rc = NGX_AGAIN;
        }

        if (ngx_http_registry_cache_copy(m, entry, pool) != NGX_OK) {
            rc = NGX_ERROR;
        }
    }

    ngx_http_registry_zone_unlock(zone);

    return rc;
}


/* the manifest, and the tag that led to it, if any; called under the lock */

static ngx_int_t
ngx_http_registry_cache_find(ngx_http_registry_manifest_t *m,
    ngx_http_registry_key_t *key, ngx_http_registry_entry_t **tag,
    ngx_http_registry_entry_t **entry)
{
    ngx_http_registry_key_t  mkey;

    *tag = NULL;
    *entry = ngx_http_registry_zone_find(m->zone, &key->text, key->hash);

    if (*entry == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_registry_zone_touch(m->zone, *entry);

    if (m->tag.len == 0) {
        return NGX_OK;
    }

    *tag = *entry;

    ngx_memcpy(&m->digest, (*tag)->data + (*tag)->key_len, (*tag)->value_len);

    ngx_http_registry_cache_key(&mkey, m->zone, m->store,
                                NGX_HTTP_REGISTRY_CACHE_MANIFEST, &m->name,
                                m->digest.text, m->digest.len);

    *entry = ngx_http_registry_zone_find(m->zone, &mkey.text, mkey.hash);

    if (*entry == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_registry_zone_touch(m->zone, *entry);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_cache_copy(ngx_http_registry_manifest_t *m,
    ngx_http_registry_entry_t *entry, ngx_pool_t *pool)
{
    m->media_type.len = entry->value_len;
    m->body.len = entry->size;

    m->body.data = ngx_pnalloc(pool, entry->size + entry->value_len);
    if (m->body.data == NULL) {
        return NGX_ERROR;
    }

    m->media_type.data = m->body.data + entry->size;

    if (m->pulled && entry->fresh) {
        m->fresh = 1;
        entry->fresh = 0;
    }

    ngx_http_registry_zone_copy(entry, m->body.data);
    ngx_memcpy(m->media_type.data, entry->data + entry->key_len,
               entry->value_len);

    return NGX_OK;
}


void
ngx_http_registry_cache_fill(ngx_http_registry_manifest_t *m)
{
    u_char                      fresh;
    ngx_str_t                   value;
    registry_digest_t           digest;
    ngx_http_registry_key_t     key, mkey;
    ngx_http_registry_zone_t   *zone;
    ngx_http_registry_entry_t  *entry;

    if (m->body.len > NGX_HTTP_REGISTRY_CACHE_BODY) {
        return;
    }

    zone = m->zone;

    ngx_http_registry_cache_manifest_key(&key, m);
    ngx_http_registry_cache_key(&mkey, m->zone, m->store,
                                NGX_HTTP_REGISTRY_CACHE_MANIFEST, &m->name,
                                m->digest.text, m->digest.len);

    ngx_http_registry_zone_lock(zone);

    if (m->generation == ngx_http_registry_zone_generation(zone, key.name)) {

        entry = ngx_http_registry_zone_find(zone, &mkey.text, mkey.hash);
        fresh = m->fresh || (entry && entry->fresh);

        entry = ngx_http_registry_zone_put(zone, &mkey.text, mkey.hash,
                                           &m->media_type, &m->body);
        if (entry) {
            entry->fresh = fresh;
        }

        ngx_http_registry_cache_present(m);

        if (m->tag.len) {
            /* as it is in memory, so that nobody has to parse it */

            ngx_memzero(&digest, sizeof(registry_digest_t));
            digest.algorithm = m->digest.algorithm;
            digest.len = m->digest.len;
            ngx_memcpy(digest.text, m->digest.text, m->digest.len);

            value.data = (u_char *) &digest;
            value.len = offsetof(registry_digest_t, text) + digest.len + 1;

            entry = ngx_http_registry_zone_put(zone, &key.text, key.hash,
                                               &value,
                                               &ngx_http_registry_nothing);
            if (entry) {
                entry->checked -= m->age;
            }
        }
    }

    ngx_http_registry_zone_unlock(zone);
}


void
ngx_http_registry_cache_confirm(ngx_http_registry_manifest_t *m)
{
    registry_digest_t           digest;
    ngx_http_registry_key_t     key;
    ngx_http_registry_zone_t   *zone;
    ngx_http_registry_entry_t  *tag, *entry;

    zone = m->zone;
    digest = m->digest;

    ngx_http_registry_cache_manifest_key(&key, m);

    ngx_http_registry_zone_lock(zone);

    if (m->generation == ngx_http_registry_zone_generation(zone, key.name)
        && ngx_http_registry_cache_find(m, &key, &tag, &entry) == NGX_OK
        && registry_digest_equal(&digest, &m->digest))
    {
        entry->checked = ngx_current_msec;

        if (tag) {
            tag->checked = ngx_current_msec;
        }
    }

    ngx_http_registry_zone_unlock(zone);

    m->digest = digest;
}


void
ngx_http_registry_cache_forget(ngx_http_registry_manifest_t *m)
{
    ngx_http_registry_key_t  key;

    ngx_http_registry_cache_manifest_key(&key, m);
    ngx_http_registry_cache_remove(m->zone, &key, 1);

    ngx_http_registry_cache_absent_key(&key, m);
    ngx_http_registry_cache_remove(m->zone, &key, 0);
}


void
ngx_http_registry_cache_drop(ngx_http_registry_manifest_t *m)
{
    ngx_http_registry_key_t  key;

    ngx_http_registry_cache_manifest_key(&key, m);
    ngx_http_registry_cache_remove(m->zone, &key, 0);
}


static void
ngx_http_registry_cache_remove(ngx_http_registry_zone_t *zone,
    ngx_http_registry_key_t *key, ngx_uint_t changed)
{
    ngx_http_registry_entry_t  *entry;

    ngx_http_registry_zone_lock(zone);

    if (changed) {
        ngx_http_registry_zone_changed(zone, key->name);
    }

    entry = ngx_http_registry_zone_find(zone, &key->text, key->hash);

    if (entry) {
        ngx_http_registry_zone_delete(zone, entry);
    }

    ngx_http_registry_zone_unlock(zone);
}


ngx_int_t
ngx_http_registry_cache_linked(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest, ngx_uint_t *generation)
{
    ngx_int_t                   rc;
    ngx_http_registry_key_t     key;
    ngx_http_registry_entry_t  *entry;

    ngx_http_registry_cache_key(&key, zone, store,
                                NGX_HTTP_REGISTRY_CACHE_LINK, name,
                                digest->text, digest->len);

    rc = NGX_DECLINED;

    ngx_http_registry_zone_lock(zone);

    *generation = ngx_http_registry_zone_generation(zone, key.name);

    entry = ngx_http_registry_zone_find(zone, &key.text, key.hash);

    if (entry
        && ngx_http_registry_cache_age(entry)
           < (ngx_msec_int_t) store->tag_valid)
    {
        ngx_http_registry_zone_touch(zone, entry);
        rc = NGX_OK;
    }

    ngx_http_registry_zone_unlock(zone);

    return rc;
}


void
ngx_http_registry_cache_link(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest, ngx_uint_t generation)
{
    ngx_http_registry_key_t  key;

    if (store->tag_valid == 0) {
        return;
    }

    ngx_http_registry_cache_key(&key, zone, store,
                                NGX_HTTP_REGISTRY_CACHE_LINK, name,
                                digest->text, digest->len);

    ngx_http_registry_zone_lock(zone);

    if (generation == ngx_http_registry_zone_generation(zone, key.name)) {
        (void) ngx_http_registry_zone_put(zone, &key.text, key.hash,
                                          &ngx_http_registry_nothing,
                                          &ngx_http_registry_nothing);
    }

    ngx_http_registry_zone_unlock(zone);
}


void
ngx_http_registry_cache_unlink(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest)
{
    ngx_http_registry_key_t  key;

    ngx_http_registry_cache_key(&key, zone, store,
                                NGX_HTTP_REGISTRY_CACHE_LINK, name,
                                digest->text, digest->len);
    ngx_http_registry_cache_remove(zone, &key, 1);
}


void
ngx_http_registry_cache_purge(ngx_http_registry_manifest_t *m)
{
    ngx_http_registry_zone_lock(m->zone);

    ngx_http_registry_zone_purges(m->zone,
                            ngx_murmur_hash2(m->name.data, m->name.len))++;

    ngx_http_registry_zone_unlock(m->zone);

    ngx_http_registry_cache_forget(m);
}


void
ngx_http_registry_cache_purge_all(ngx_http_registry_zone_t *zone,
    ngx_str_t *name, ngx_uint_t all)
{
    uint32_t    hash;
    ngx_uint_t  i;

    hash = all ? ngx_http_registry_cache_first(name)
               : ngx_murmur_hash2(name->data, name->len);

    ngx_http_registry_zone_lock(zone);

    ngx_http_registry_zone_purges(zone, hash)++;
    ngx_http_registry_zone_epoch(zone, hash)++;

    for (i = 0; all && i < NGX_HTTP_REGISTRY_ZONE_STRIPES; i++) {
        ngx_http_registry_zone_changed(zone, i);
    }

    ngx_http_registry_zone_changed(zone, hash);

    ngx_http_registry_zone_unlock(zone);
}


ngx_uint_t
ngx_http_registry_cache_current(ngx_http_registry_manifest_t *m)
{
    return m->generation == ngx_http_registry_zone_generation(m->zone,
                                ngx_murmur_hash2(m->name.data, m->name.len));
}


ngx_uint_t
ngx_http_registry_cache_unpurged(ngx_http_registry_manifest_t *m)
{
    return m->purges == ngx_http_registry_cache_purges(m->zone, &m->name);
}


/* of the repository, or all with the same first component */

uint32_t
ngx_http_registry_cache_purges(ngx_http_registry_zone_t *zone,
    ngx_str_t *name)
{
    return ngx_http_registry_zone_purges(zone,
                                     ngx_murmur_hash2(name->data, name->len))
           + ngx_http_registry_zone_purges(zone,
                                     ngx_http_registry_cache_first(name));
}


time_t
ngx_http_registry_cache_changed(ngx_http_registry_manifest_t *m)
{
    return ngx_http_registry_zone_when(m->zone,
                                ngx_murmur_hash2(m->name.data, m->name.len));
}


void
ngx_http_registry_cache_absent(ngx_http_registry_manifest_t *m)
{
    ngx_http_registry_key_t  key;

    ngx_http_registry_cache_absent_key(&key, m);

    ngx_http_registry_zone_lock(m->zone);

    if (m->generation == ngx_http_registry_zone_generation(m->zone, key.name))
    {
        (void) ngx_http_registry_zone_put(m->zone, &key.text, key.hash,
                                          &ngx_http_registry_nothing,
                                          &ngx_http_registry_nothing);
    }

    ngx_http_registry_zone_unlock(m->zone);
}


ngx_uint_t
ngx_http_registry_cache_is_absent(ngx_http_registry_manifest_t *m,
    ngx_msec_t valid)
{
    ngx_uint_t                  absent;
    ngx_http_registry_key_t     key;
    ngx_http_registry_entry_t  *entry;

    ngx_http_registry_cache_absent_key(&key, m);

    ngx_http_registry_zone_lock(m->zone);

    entry = ngx_http_registry_zone_find(m->zone, &key.text, key.hash);

    absent = (entry && ngx_http_registry_cache_age(entry)
                       < (ngx_msec_int_t) valid);

    ngx_http_registry_zone_unlock(m->zone);

    return absent;
}


/* called under the lock */

static void
ngx_http_registry_cache_present(ngx_http_registry_manifest_t *m)
{
    ngx_http_registry_key_t     key;
    ngx_http_registry_entry_t  *entry;

    ngx_http_registry_cache_absent_key(&key, m);

    entry = ngx_http_registry_zone_find(m->zone, &key.text, key.hash);

    if (entry) {
        ngx_http_registry_zone_delete(m->zone, entry);
    }
}


static void
ngx_http_registry_cache_absent_key(ngx_http_registry_key_t *key,
    ngx_http_registry_manifest_t *m)
{
    if (m->tag.len) {
        ngx_http_registry_cache_key(key, m->zone, m->store,
                                    NGX_HTTP_REGISTRY_CACHE_ABSENT, &m->name,
                                    m->tag.data, m->tag.len);
        return;
    }

    ngx_http_registry_cache_key(key, m->zone, m->store,
                                NGX_HTTP_REGISTRY_CACHE_ABSENT, &m->name,
                                m->digest.text, m->digest.len);
}


void
ngx_http_registry_cache_blob(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, ngx_str_t *name,
    registry_digest_t *digest)
{
    ngx_http_registry_key_t  key;

    ngx_http_registry_cache_key(&key, zone, store,
                                NGX_HTTP_REGISTRY_CACHE_BLOB,
                                &ngx_http_registry_nothing, digest->text,
                                digest->len);

    ngx_http_registry_zone_lock(zone);

    (void) ngx_http_registry_zone_put(zone, &key.text, key.hash, name,
                                      &ngx_http_registry_nothing);

    ngx_http_registry_zone_unlock(zone);
}


ngx_int_t
ngx_http_registry_cache_blob_of(ngx_http_registry_zone_t *zone,
    ngx_http_registry_store_t *store, registry_digest_t *digest,
    ngx_str_t *name, ngx_pool_t *pool)
{
    ngx_int_t                   rc;
    ngx_str_t                   value;
    ngx_http_registry_key_t     key;
    ngx_http_registry_entry_t  *entry;

    ngx_str_null(name);

    ngx_http_registry_cache_key(&key, zone, store,
                                NGX_HTTP_REGISTRY_CACHE_BLOB,
                                &ngx_http_registry_nothing, digest->text,
                                digest->len);

    rc = NGX_OK;

    ngx_http_registry_zone_lock(zone);

    entry = ngx_http_registry_zone_find(zone, &key.text, key.hash);

    if (entry) {
        value.data = entry->data + entry->key_len;
        value.len = entry->value_len;

        name->data = ngx_pstrdup(pool, &value);

        if (name->data) {
            name->len = value.len;

        } else {
            rc = NGX_ERROR;
        }
    }

    ngx_http_registry_zone_unlock(zone);

    return rc;
}


static void
ngx_http_registry_cache_manifest_key(ngx_http_registry_key_t *key,
    ngx_http_registry_manifest_t *m)
{
    if (m->tag.len) {
        ngx_http_registry_cache_key(key, m->zone, m->store,
                                    NGX_HTTP_REGISTRY_CACHE_TAG, &m->name,
                                    m->tag.data, m->tag.len);
        return;
    }

    ngx_http_registry_cache_key(key, m->zone, m->store,
                                NGX_HTTP_REGISTRY_CACHE_MANIFEST, &m->name,
                                m->digest.text, m->digest.len);
}


/* names, tags and digests have passed their grammars: they fit */

static void
ngx_http_registry_cache_key(ngx_http_registry_key_t *key,
    ngx_http_registry_zone_t *zone, ngx_http_registry_store_t *store,
    u_char kind, ngx_str_t *name, const void *reference, size_t len)
{
    u_char    *p;
    uint32_t   epoch;

    key->name = ngx_murmur_hash2(name->data, name->len);

    epoch = ngx_http_registry_zone_epoch(zone, key->name)
            + ngx_http_registry_zone_epoch(zone,
                                       ngx_http_registry_cache_first(name));

    p = key->data;

    p = ngx_cpymem(p, &epoch, sizeof(epoch));
    p = ngx_cpymem(p, store->id, sizeof(store->id));
    *p++ = kind;
    p = ngx_cpymem(p, name->data, name->len);
    *p++ = '\0';
    p = ngx_cpymem(p, reference, len);

    key->text.data = key->data;
    key->text.len = p - key->data;
    key->hash = ngx_murmur_hash2(key->text.data, key->text.len);
}


/* a hash of the name's first component, which may be a namespace */

static uint32_t
ngx_http_registry_cache_first(ngx_str_t *name)
{
    u_char  *p;

    p = ngx_strlchr(name->data, name->data + name->len, '/');

    return ngx_murmur_hash2(name->data, p ? (size_t) (p - name->data)
                                          : name->len);
}
