
/*
 * The module: its directives, how they inherit, and what has to be checked
 * before nginx starts.
 */


#include "ngx_http_registry.h"

#include <jansson.h>


#define NGX_HTTP_REGISTRY_ZONE_SIZE    (32 * 1024 * 1024)
#define NGX_HTTP_REGISTRY_BODY_BUFFER  (512 * 1024)


static ngx_int_t ngx_http_registry_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_registry_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_registry_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_registry_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_registry_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void *ngx_http_registry_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_registry_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_registry_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_registry_init_process(ngx_cycle_t *cycle);

static char *ngx_http_registry_store(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_registry_store_add(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_store_t *store);
static char *ngx_http_registry_store_param(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_http_registry_location(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_registry_zone_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_http_registry_store_t *ngx_http_registry_find_store(
    ngx_http_registry_main_conf_t *mcf, ngx_str_t *name);
static char *ngx_http_registry_lift_limits(ngx_conf_t *cf, void *conf);
static ngx_int_t ngx_http_registry_manager_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf);
static ngx_msec_t ngx_http_registry_manager(void *data);
static void ngx_http_registry_manager_event(ngx_event_t *ev);


/* with "master_process off", where there is no cache manager process */

static ngx_event_t  ngx_http_registry_manager_timer;


static ngx_conf_enum_t  ngx_http_registry_references[] = {
    { ngx_string("off"), NGX_HTTP_REGISTRY_REFERENCES_OFF },
    { ngx_string("sparse"), NGX_HTTP_REGISTRY_REFERENCES_SPARSE },
    { ngx_string("on"), NGX_HTTP_REGISTRY_REFERENCES_ON },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_registry_commands[] = {

    { ngx_string("registry_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_registry_zone_size,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_registry_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_cache"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_registry_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      1,
      NULL },

    { ngx_string("registry"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_registry_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_push"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, push),
      NULL },

    { ngx_string("registry_delete"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, delete),
      NULL },

    { ngx_string("registry_catalog"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, catalog),
      NULL },

    { ngx_string("registry_references"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, references),
      ngx_http_registry_references },

    { ngx_string("registry_max_blob_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, max_blob_size),
      NULL },

    { ngx_string("registry_namespace"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_registry_srv_conf_t, ns),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_registry_module_ctx = {
    ngx_http_registry_add_variables,       /* preconfiguration */
    ngx_http_registry_postconfiguration,   /* postconfiguration */

    ngx_http_registry_create_main_conf,    /* create main configuration */
    ngx_http_registry_init_main_conf,      /* init main configuration */

    ngx_http_registry_create_srv_conf,     /* create server configuration */
    ngx_http_registry_merge_srv_conf,      /* merge server configuration */

    ngx_http_registry_create_loc_conf,     /* create location configuration */
    ngx_http_registry_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_registry_module = {
    NGX_MODULE_V1,
    &ngx_http_registry_module_ctx,         /* module context */
    ngx_http_registry_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_registry_init_module,         /* init module */
    ngx_http_registry_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/*
 * A module of its own, ordered before the core module, since what a location
 * inherits is settled there: limits that are right for a site, and wrong for
 * a registry, are set before that, unless the location itself sets them.
 */

static ngx_http_module_t  ngx_http_registry_conf_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    ngx_http_registry_lift_limits,         /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_registry_conf_module = {
    NGX_MODULE_V1,
    &ngx_http_registry_conf_module_ctx,    /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_registry_lift_limits(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t                       i;
    ngx_http_core_loc_conf_t       **clcf;
    ngx_http_registry_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    clcf = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts; i++) {

        if (clcf[i]->client_max_body_size == NGX_CONF_UNSET) {
            clcf[i]->client_max_body_size = 0;
        }

        /* it is also the window of an upload over HTTP/2 */

        if (clcf[i]->client_body_buffer_size == NGX_CONF_UNSET_SIZE) {
            clcf[i]->client_body_buffer_size = NGX_HTTP_REGISTRY_BODY_BUFFER;
        }

        if (clcf[i]->error_pages == NULL) {
            clcf[i]->error_pages = ngx_array_create(cf->pool, 1,
                                                sizeof(ngx_http_err_page_t));
            if (clcf[i]->error_pages == NULL) {
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_registry_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_registry_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    if (mcf->locations.nelts == 0 && mcf->caches == 0) {
        return NGX_OK;
    }

    if (ngx_http_registry_manager_init(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_registry_filter_init(cf);
}


static void *
ngx_http_registry_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_registry_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    mcf->zone_size = NGX_CONF_UNSET_SIZE;

    if (ngx_array_init(&mcf->stores, cf->pool, 2,
                       sizeof(ngx_http_registry_store_t *))
        != NGX_OK
        || ngx_array_init(&mcf->locations, cf->pool, 2,
                          sizeof(ngx_http_core_loc_conf_t *))
           != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static char *
ngx_http_registry_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_registry_main_conf_t  *mcf = conf;

    ngx_str_t                    name;
    ngx_uint_t                   i;
    ngx_http_registry_store_t  **store;

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {

        if (store[i]->tp == NULL) {
            store[i]->tp = ngx_thread_pool_add(cf, NULL);
        }

        if (store[i]->tp == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (mcf->locations.nelts == 0 && mcf->caches == 0) {
        return NGX_CONF_OK;
    }

    ngx_conf_init_size_value(mcf->zone_size, NGX_HTTP_REGISTRY_ZONE_SIZE);

    ngx_str_set(&name, "ngx_http_registry");

    mcf->shm_zone = ngx_shared_memory_add(cf, &name, mcf->zone_size,
                                          &ngx_http_registry_module);
    if (mcf->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    mcf->shm_zone->init = ngx_http_registry_zone_init;
    mcf->shm_zone->data = &mcf->zone;
    mcf->zone.pool = cf->pool;

    return NGX_CONF_OK;
}


static void *
ngx_http_registry_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_srv_conf_t));
    if (sscf == NULL) {
        return NULL;
    }

    sscf->ns = NGX_CONF_UNSET_PTR;

    if (ngx_array_init(&sscf->names, cf->pool, 1,
                       sizeof(ngx_http_server_name_t))
        != NGX_OK)
    {
        return NULL;
    }

    return sscf;
}


static char *
ngx_http_registry_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_registry_srv_conf_t  *prev = parent;
    ngx_http_registry_srv_conf_t  *conf = child;

    ngx_uint_t                  i;
    ngx_http_server_name_t     *sn, *name;
    ngx_http_core_srv_conf_t   *cscf;

    ngx_conf_merge_ptr_value(conf->ns, prev->ns, NULL);

    /* the core's own list lives in temporary memory */

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {

        if (sn[i].name.len == 0) {
            continue;
        }

        name = ngx_array_push(&conf->names);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = sn[i];
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_registry_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_registry_loc_conf_t  *rlcf;

    rlcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_loc_conf_t));
    if (rlcf == NULL) {
        return NULL;
    }

    rlcf->store = NGX_CONF_UNSET_PTR;
    rlcf->push = NGX_CONF_UNSET;
    rlcf->delete = NGX_CONF_UNSET;
    rlcf->catalog = NGX_CONF_UNSET;
    rlcf->references = NGX_CONF_UNSET_UINT;
    rlcf->max_blob_size = NGX_CONF_UNSET;

    return rlcf;
}


static char *
ngx_http_registry_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_registry_loc_conf_t  *prev = parent;
    ngx_http_registry_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_registry_main_conf_t  *mcf;

    if (conf->store_name.len) {
        mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

        conf->store = ngx_http_registry_find_store(mcf, &conf->store_name);

        if (conf->store == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown registry_store \"%V\" in %s:%ui",
                          &conf->store_name, conf->file, conf->line);
            return NGX_CONF_ERROR;
        }

        if (conf->store->evict) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%V\" is a registry_cache, not a registry_store, "
                          "in %s:%ui", &conf->store_name, conf->file,
                          conf->line);
            return NGX_CONF_ERROR;
        }
    }

    ngx_conf_merge_ptr_value(conf->store, prev->store, NULL);
    ngx_conf_merge_value(conf->push, prev->push, 0);
    ngx_conf_merge_value(conf->delete, prev->delete, 0);
    ngx_conf_merge_value(conf->catalog, prev->catalog, 0);
    ngx_conf_merge_uint_value(conf->references, prev->references,
                              NGX_HTTP_REGISTRY_REFERENCES_ON);
    ngx_conf_merge_off_value(conf->max_blob_size, prev->max_blob_size, 0);

    if (conf->store == NULL) {
        return NGX_CONF_OK;
    }

    /*
     * Nested locations, limit_except and "if" are registries too, unless
     * something else answers there.
     */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == NULL) {
        clcf->handler = ngx_http_registry_handler;
    }

    if (conf->store_name.len && clcf->handler != ngx_http_registry_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"registry\" conflicts with another handler of this "
                      "location in %s:%ui", conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_zone_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_main_conf_t  *mcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (mcf->zone_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        return "has an invalid size";
    }

    if (size < (ssize_t) NGX_HTTP_REGISTRY_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "registry_zone \"%V\" is too small, at least %uzk "
                           "is needed", &value[1],
                           (size_t) NGX_HTTP_REGISTRY_ZONE_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    mcf->zone_size = size;

    return NGX_CONF_OK;
}


/* cmd->offset: 1 for a cache */

static char *
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


static ngx_http_registry_store_t *
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


static char *
ngx_http_registry_location(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_loc_conf_t  *rlcf = conf;

    ngx_str_t                       *value;
    ngx_http_core_loc_conf_t       **clcf;
    ngx_http_registry_srv_conf_t    *sscf;
    ngx_http_registry_main_conf_t   *mcf;

    if (rlcf->store != NGX_CONF_UNSET_PTR || rlcf->store_name.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->store = NULL;
        return NGX_CONF_OK;
    }

    /* the store may come later: it is looked up when all is read */

    rlcf->store_name = value[1];
    rlcf->file = cf->conf_file->file.name.data;
    rlcf->line = cf->conf_file->line;

    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_registry_module);
    sscf->enabled = 1;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    clcf = ngx_array_push(&mcf->locations);
    if (clcf == NULL) {
        return NGX_CONF_ERROR;
    }

    *clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if ((*clcf)->handler) {
        return "conflicts with another handler of this location";
    }

    (*clcf)->handler = ngx_http_registry_handler;

    return NGX_CONF_OK;
}


/* a store's directory is made, if need be, for the workers to write to */

static ngx_int_t
ngx_http_registry_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                      i;
    ngx_core_conf_t                *ccf;
    ngx_http_registry_store_t     **store;
    ngx_http_registry_main_conf_t  *mcf;

    if (ngx_test_config
        || ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL)
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_registry_module);
    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {

        if (ngx_create_dir(store[i]->path.data, 0755) == NGX_FILE_ERROR) {

            if (ngx_errno == NGX_EEXIST) {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          ngx_create_dir_n " \"%V\" of %s \"%V\" in %s:%ui "
                          "failed", &store[i]->path,
                          ngx_http_registry_store_kind(store[i]),
                          &store[i]->name, store[i]->file, store[i]->line);
            goto failed;
        }

        if (geteuid() == 0
            && chown((char *) store[i]->path.data, ccf->user, ccf->group) == -1)
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "chown() \"%V\" failed", &store[i]->path);
            goto failed;
        }

        continue;

    failed:

        /* nginx would exit: right at its start, not at a reload */

        if (ngx_is_init_cycle(cycle->old_cycle)) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                      i;
    ngx_http_registry_store_t     **store;
    ngx_http_registry_main_conf_t  *mcf;

    if (ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL) {
        return NGX_OK;
    }

    /* or else the first JSON object would read /dev/urandom */

    json_object_seed(0);

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_registry_module);

    if (mcf->shm_zone
        && ngx_http_registry_wake_init_process(&mcf->zone, cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        if (store[i]->driver->init) {
            store[i]->driver->init(store[i], cycle->log);
        }
    }

    if (ngx_process == NGX_PROCESS_SINGLE) {
        ngx_http_registry_manager_timer.handler =
                                               ngx_http_registry_manager_event;
        ngx_http_registry_manager_timer.data = mcf;
        ngx_http_registry_manager_timer.log = cycle->log;
        ngx_http_registry_manager_timer.cancelable = 1;

        ngx_add_timer(&ngx_http_registry_manager_timer, 1);
    }

    return NGX_OK;
}


/*
 * nginx starts its cache manager process if some path has a manager.  One
 * that is there already is borrowed: a path of our own would be a directory
 * that nobody needs.
 */

static ngx_int_t
ngx_http_registry_manager_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf)
{
    ngx_uint_t    i;
    ngx_path_t  **path;

    path = cf->cycle->paths.elts;

    for (i = 0; i < cf->cycle->paths.nelts; i++) {

        if (path[i]->manager == NULL && path[i]->loader == NULL
            && path[i]->data == NULL)
        {
            path[i]->manager = ngx_http_registry_manager;
            path[i]->data = mcf;
            return NGX_OK;
        }
    }

    if (mcf->locations.nelts == 0) {

        /* nor is there a server to use a cache */

        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "no path for the manager of registry stores");

    return NGX_ERROR;
}


static ngx_msec_t
ngx_http_registry_manager(void *data)
{
    ngx_http_registry_main_conf_t  *mcf = data;

    ngx_uint_t                   i;
    ngx_msec_t                   next, n;
    ngx_http_registry_store_t  **store;

    next = 60 * 60 * 1000;
    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        n = store[i]->driver->expire(store[i]);
        next = ngx_min(next, n);

        if (store[i]->evict) {
            n = ngx_http_registry_evict_manager(store[i]);
            next = ngx_min(next, n);
        }
    }

    return next;
}


static void
ngx_http_registry_manager_event(ngx_event_t *ev)
{
    ngx_msec_t  next;

    next = ngx_http_registry_manager(ev->data);

    ngx_add_timer(ev, ngx_max(next, 1));
}
