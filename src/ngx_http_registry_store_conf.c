
/*
 * registry_store {} and registry_cache {}.
 */


#include "ngx_http_registry.h"


static char *ngx_http_registry_store_add(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_store_t *store);
static char *ngx_http_registry_store_param(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static ngx_int_t ngx_http_registry_adopt_dirs(
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_store_t *store);


/* cmd->offset: 1 for a cache */

char *
ngx_http_registry_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_main_conf_t  *mcf = conf;

    char                         *rv;
    ngx_str_t                    *value;
    ngx_conf_t                    save;
    ngx_http_registry_store_t    *store;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return "cannot be named \"off\"";
    }

    if (ngx_http_registry_find_store(mcf, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate %V \"%V\"",
                           &value[0], &value[1]);
        return NGX_CONF_ERROR;
    }

    store = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_store_t));
    if (store == NULL) {
        return NGX_CONF_ERROR;
    }

    store->name = value[1];
    store->driver = &ngx_http_registry_fs_driver;
    store->file = cf->conf_file->file.name.data;
    store->line = cf->conf_file->line;
    store->tag_valid = NGX_CONF_UNSET_MSEC;
    store->upload_expires = NGX_CONF_UNSET;

    if (cmd->offset) {
        store->evict = ngx_http_registry_evict_create(cf);
        if (store->evict == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    save = *cf;
    cf->handler = ngx_http_registry_store_param;
    cf->handler_conf = (void *) store;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_registry_store_add(cf, mcf, store);
}


static char *
ngx_http_registry_store_add(ngx_conf_t *cf, ngx_http_registry_main_conf_t *mcf,
    ngx_http_registry_store_t *store)
{
    ngx_uint_t                    i;
    ngx_http_registry_store_t   **stores;

    if (store->path.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s \"%V\" has no \"path\"",
                           ngx_http_registry_store_kind(store), &store->name);
        return NGX_CONF_ERROR;
    }

    stores = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        if (stores[i]->path.len == store->path.len
            && ngx_strcmp(stores[i]->path.data, store->path.data) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%s \"%V\" has the path of %s \"%V\" in "
                               "%s:%ui",
                               ngx_http_registry_store_kind(store),
                               &store->name,
                               ngx_http_registry_store_kind(stores[i]),
                               &stores[i]->name,
                               stores[i]->file, stores[i]->line);
            return NGX_CONF_ERROR;
        }
    }

    store->id[0] = ngx_crc32_long(store->path.data, store->path.len);
    store->id[1] = ngx_murmur_hash2(store->path.data, store->path.len);

    ngx_conf_init_msec_value(store->tag_valid, 1000);
    ngx_conf_init_value(store->upload_expires, 7 * 24 * 60 * 60);

    stores = ngx_array_push(&mcf->stores);
    if (stores == NULL) {
        return NGX_CONF_ERROR;
    }

    *stores = store;

    if (store->evict == NULL) {
        return NGX_CONF_OK;
    }

    mcf->caches++;

    if (ngx_http_registry_evict_init(cf, store, &mcf->zone,
                                     &ngx_http_registry_module)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (store->evict->max_size == 0 && store->evict->min_free == 0
        && store->evict->inactive == 0)
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "registry_cache \"%V\" has no limit: set "
                           "\"max_size\", \"min_free\" or \"inactive\"",
                           &store->name);
    }

    return NGX_CONF_OK;
}


/* one spelling for one path: without empty components and those of a dot */

static ngx_int_t
ngx_http_registry_store_plain(ngx_conf_t *cf, ngx_str_t *path)
{
    u_char  *p, *last, *end, *to;

    p = path->data;
    last = path->data + path->len;

    path->data = ngx_pnalloc(cf->pool, path->len + 2);
    if (path->data == NULL) {
        return NGX_ERROR;
    }

    to = path->data;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '/');
        if (end == NULL) {
            end = last;
        }

        if (end == p || (end - p == 1 && *p == '.')) {
            continue;
        }

        *to++ = '/';
        to = ngx_cpymem(to, p, end - p);
    }

    *to = '\0';
    path->len = to - path->data;

    return NGX_OK;
}


static char *
ngx_http_registry_store_path(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_store_t  *store = conf;

    ngx_str_t  *value;

    if (store->path.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_script_variables_count(&value[1])) {
        return "cannot have variables";
    }

    if (value[1].len == 0) {
        return "is empty";
    }

    store->path = value[1];

    if (ngx_conf_full_name(cf->cycle, &store->path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_registry_store_plain(cf, &store->path) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (store->path.len > NGX_HTTP_REGISTRY_STORE_PATH) {
        return "is too long";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_store_expires(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_registry_store_t  *store = conf;

    char  *rv;

    rv = ngx_conf_set_sec_slot(cf, cmd, conf);

    if (rv == NGX_CONF_OK && store->upload_expires == 0) {
        return "must be above zero";
    }

    return rv;
}


/* a pool that is not declared is reported with this line */

static char *
ngx_http_registry_store_threads(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_registry_store_t  *store = conf;

    ngx_str_t  *value;

    if (store->tp) {
        return "is duplicate";
    }

    value = cf->args->elts;

    store->tp = ngx_thread_pool_add(cf, &value[1]);

    return store->tp ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* whether there is such a namespace is known when all has been read */

static char *
ngx_http_registry_store_adopt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_evict_t  *evict = conf;

    ngx_str_t                  *value;
    ngx_http_registry_adopt_t  *adopt;

    if (evict->adopt) {
        return "is duplicate";
    }

    adopt = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_adopt_t));

    if (adopt == NULL
        || ngx_array_init(&adopt->dirs, cf->pool, 4, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    adopt->ns = value[1];
    adopt->file = cf->conf_file->file.name.data;
    adopt->line = cf->conf_file->line;

    evict->adopt = adopt;

    return NGX_CONF_OK;
}


/* the parameters of a store and of a cache, "conf" telling which of them */

#define NGX_HTTP_REGISTRY_OF_BOTH   0
#define NGX_HTTP_REGISTRY_OF_STORE  1
#define NGX_HTTP_REGISTRY_OF_CACHE  2

static ngx_command_t  ngx_http_registry_store_params[] = {

    { ngx_string("path"), NGX_CONF_TAKE1, ngx_http_registry_store_path,
      NGX_HTTP_REGISTRY_OF_BOTH, 0, NULL },

    { ngx_string("tag_valid"), NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
      NGX_HTTP_REGISTRY_OF_BOTH,
      offsetof(ngx_http_registry_store_t, tag_valid), NULL },

    { ngx_string("threads"), NGX_CONF_TAKE1, ngx_http_registry_store_threads,
      NGX_HTTP_REGISTRY_OF_BOTH, 0, NULL },

    { ngx_string("upload_expires"), NGX_CONF_TAKE1,
      ngx_http_registry_store_expires,
      NGX_HTTP_REGISTRY_OF_STORE,
      offsetof(ngx_http_registry_store_t, upload_expires), NULL },

    { ngx_string("max_size"), NGX_CONF_TAKE1, ngx_conf_set_off_slot,
      NGX_HTTP_REGISTRY_OF_CACHE,
      offsetof(ngx_http_registry_evict_t, max_size), NULL },

    { ngx_string("min_free"), NGX_CONF_TAKE1, ngx_conf_set_off_slot,
      NGX_HTTP_REGISTRY_OF_CACHE,
      offsetof(ngx_http_registry_evict_t, min_free), NULL },

    { ngx_string("inactive"), NGX_CONF_TAKE1, ngx_conf_set_sec_slot,
      NGX_HTTP_REGISTRY_OF_CACHE,
      offsetof(ngx_http_registry_evict_t, inactive), NULL },

    { ngx_string("adopt"), NGX_CONF_TAKE1, ngx_http_registry_store_adopt,
      NGX_HTTP_REGISTRY_OF_CACHE, 0, NULL },

      ngx_null_command
};


static char *
ngx_http_registry_store_param(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_registry_store_t  *store = conf;

    char           *rv;
    ngx_str_t      *value;
    ngx_uint_t      other;
    ngx_command_t  *cmd;

    value = cf->args->elts;

    for (cmd = ngx_http_registry_store_params; cmd->name.len; cmd++) {

        if (cmd->name.len == value[0].len
            && ngx_strcmp(cmd->name.data, value[0].data) == 0)
        {
            break;
        }
    }

    if (cmd->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown parameter \"%V\" of a %s", &value[0],
                           ngx_http_registry_store_kind(store));
        return NGX_CONF_ERROR;
    }

    other = store->evict ? NGX_HTTP_REGISTRY_OF_STORE
                         : NGX_HTTP_REGISTRY_OF_CACHE;

    if (cmd->conf == other) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a %s has no \"%V\", a %s has",
                           ngx_http_registry_store_kind(store), &value[0],
                           store->evict ? "registry_store"
                                        : "registry_cache");
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts != 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in \"%V\"", &value[0]);
        return NGX_CONF_ERROR;
    }

    rv = cmd->set(cf, cmd, cmd->conf == NGX_HTTP_REGISTRY_OF_CACHE
                               ? (void *) store->evict : store);

    if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
        return rv;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" %s", &value[0], rv);

    return NGX_CONF_ERROR;
}


ngx_http_registry_store_t *
ngx_http_registry_find_store(ngx_http_registry_main_conf_t *mcf,
    ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_http_registry_store_t  **store;

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        if (store[i]->name.len == name->len
            && ngx_strncmp(store[i]->name.data, name->data, name->len) == 0)
        {
            return store[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_registry_adopts_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf)
{
    ngx_uint_t                    i;
    ngx_http_registry_adopt_t    *adopt;
    ngx_http_registry_store_t   **store;
    ngx_http_registry_remote_t   *remote;

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        adopt = store[i]->evict ? store[i]->evict->adopt : NULL;

        if (adopt == NULL) {
            continue;
        }

        remote = ngx_http_registry_find_remote(mcf, &adopt->ns);

        if (remote == NULL || remote->store != store[i]) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%V\" is no registry_remote with this cache, in "
                          "\"adopt\" of registry_cache \"%V\" in %s:%ui",
                          &adopt->ns, &store[i]->name, adopt->file,
                          adopt->line);
            return NGX_ERROR;
        }

        adopt->dir = remote->dir;

        if (ngx_http_registry_adopt_dirs(mcf, store[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_adopt_dirs(ngx_http_registry_main_conf_t *mcf,
    ngx_http_registry_store_t *store)
{
    ngx_str_t                    *dir;
    ngx_uint_t                    i;
    ngx_http_registry_remote_t  **remote;

    remote = mcf->remotes.elts;

    for (i = 0; i < mcf->remotes.nelts; i++) {

        if (remote[i]->store != store) {
            continue;
        }

        dir = ngx_array_push(&store->evict->adopt->dirs);
        if (dir == NULL) {
            return NGX_ERROR;
        }

        *dir = remote[i]->dir;
    }

    return NGX_OK;
}
