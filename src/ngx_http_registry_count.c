
/*
 * Counters.  They are allocated once for each name and never freed: workers
 * that are about to exit still count, and a namespace that comes back goes
 * on counting.
 */


#include "ngx_http_registry_count.h"


/* counters that the configuration wants */

struct ngx_http_registry_count_name_s {
    ngx_http_registry_count_name_t   *next;
    ngx_http_registry_counters_t    **counters;
    ngx_str_t                         name;
    ngx_uint_t                        n;
};


/* written by the process alone, so without atomic operations */

struct ngx_http_registry_process_s {
    ngx_http_registry_process_t      *next;
    ngx_pid_t                         pid;
    ngx_int_t                         active[NGX_HTTP_REGISTRY_COUNT_OPERATIONS];
};


/* both lists only grow, at their heads */

typedef struct {
    ngx_http_registry_counters_t     *counters;
    ngx_http_registry_process_t      *processes;
} ngx_http_registry_count_shared_t;


static size_t ngx_http_registry_count_size(size_t zone);
static ngx_int_t ngx_http_registry_count_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log);
static ngx_http_registry_counters_t *ngx_http_registry_count_find(
    ngx_http_registry_count_shared_t *sh,
    ngx_http_registry_count_name_t *name);
static ngx_http_registry_counters_t *ngx_http_registry_count_create(
    ngx_http_registry_zone_t *zone, ngx_http_registry_count_name_t *name);
static ngx_uint_t ngx_http_registry_count_dead(ngx_pid_t pid);


const ngx_http_registry_zone_part_t  ngx_http_registry_count_part = {
    ngx_http_registry_count_size,
    ngx_http_registry_count_init
};


ngx_int_t
ngx_http_registry_count_add(ngx_http_registry_zone_t *zone, ngx_pool_t *pool,
    ngx_str_t *name, ngx_uint_t n, ngx_http_registry_counters_t **counters)
{
    ngx_http_registry_count_name_t  *cn;

    cn = ngx_palloc(pool, sizeof(ngx_http_registry_count_name_t));
    if (cn == NULL) {
        return NGX_ERROR;
    }

    cn->counters = counters;
    cn->name = *name;
    cn->n = n;

    cn->next = zone->names;
    zone->names = cn;

    return NGX_OK;
}


static size_t
ngx_http_registry_count_size(size_t zone)
{
    return sizeof(ngx_http_registry_count_shared_t);
}


static ngx_int_t
ngx_http_registry_count_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log)
{
    ngx_http_registry_counters_t      *counters;
    ngx_http_registry_count_name_t    *name;
    ngx_http_registry_count_shared_t  *sh;

    sh = zone->sh->part[NGX_HTTP_REGISTRY_ZONE_COUNT];

    /* with a single process, the process goes on */

    zone->process = old ? old->process : NULL;

    for (name = zone->names; name; name = name->next) {

        counters = ngx_http_registry_count_find(sh, name);

        if (counters == NULL) {
            counters = ngx_http_registry_count_create(zone, name);
        }

        if (counters == NULL) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "registry_zone is too small for the counters of "
                          "\"%V\"", &name->name);
            return NGX_ERROR;
        }

        *name->counters = counters;
    }

    return NGX_OK;
}


static ngx_http_registry_counters_t *
ngx_http_registry_count_find(ngx_http_registry_count_shared_t *sh,
    ngx_http_registry_count_name_t *name)
{
    ngx_http_registry_counters_t  *counters;

    for (counters = sh->counters; counters; counters = counters->next) {

        if (counters->n == name->n && counters->name.len == name->name.len
            && ngx_memcmp(counters->name.data, name->name.data,
                          name->name.len)
               == 0)
        {
            break;
        }
    }

    return counters;
}


static ngx_http_registry_counters_t *
ngx_http_registry_count_create(ngx_http_registry_zone_t *zone,
    ngx_http_registry_count_name_t *name)
{
    size_t                             size;
    ngx_http_registry_counters_t      *counters;
    ngx_http_registry_count_shared_t  *sh;

    size = offsetof(ngx_http_registry_counters_t, count)
           + name->n * sizeof(ngx_atomic_t);

    ngx_http_registry_zone_lock(zone);

    counters = ngx_http_registry_zone_reserve(zone, size + name->name.len);

    if (counters) {
        counters->n = name->n;
        counters->name.len = name->name.len;
        counters->name.data = (u_char *) counters + size;
        ngx_memcpy(counters->name.data, name->name.data, name->name.len);

        sh = zone->sh->part[NGX_HTTP_REGISTRY_ZONE_COUNT];

        counters->next = sh->counters;
        sh->counters = counters;
    }

    ngx_http_registry_zone_unlock(zone);

    return counters;
}


/* in the place of one that has died, whatever that had in hand */

void
ngx_http_registry_count_init_process(ngx_http_registry_zone_t *zone)
{
    ngx_http_registry_process_t       *process;
    ngx_http_registry_count_shared_t  *sh;

    if (ngx_process == NGX_PROCESS_HELPER) {
        return;
    }

    sh = zone->sh->part[NGX_HTTP_REGISTRY_ZONE_COUNT];

    ngx_http_registry_zone_lock(zone);

    for (process = sh->processes; process; process = process->next) {

        if (ngx_http_registry_count_dead(process->pid)) {
            ngx_memzero(process->active, sizeof(process->active));
            process->pid = ngx_pid;
            break;
        }
    }

    if (process == NULL) {
        process = ngx_http_registry_zone_reserve(zone,
                                         sizeof(ngx_http_registry_process_t));

        if (process) {
            process->pid = ngx_pid;
            process->next = sh->processes;

            /* it is read without the lock */

            ngx_memory_barrier();
            sh->processes = process;
        }
    }

    ngx_http_registry_zone_unlock(zone);

    zone->process = process;
}


static ngx_uint_t
ngx_http_registry_count_dead(ngx_pid_t pid)
{
    return kill(pid, 0) == -1 && ngx_errno == NGX_ESRCH;
}


void
ngx_http_registry_count_active(ngx_http_registry_zone_t *zone,
    ngx_http_registry_count_e operation, ngx_int_t n)
{
    if (zone->process) {
        zone->process->active[operation] += n;
    }
}


void
ngx_http_registry_count_all_active(ngx_http_registry_zone_t *zone,
    ngx_int_t *active)
{
    ngx_uint_t                         i;
    ngx_http_registry_process_t       *process;
    ngx_http_registry_count_shared_t  *sh;

    sh = zone->sh->part[NGX_HTTP_REGISTRY_ZONE_COUNT];

    ngx_memzero(active, NGX_HTTP_REGISTRY_COUNT_OPERATIONS
                        * sizeof(ngx_int_t));

    for (process = sh->processes; process; process = process->next) {

        if (ngx_http_registry_count_dead(process->pid)) {
            continue;
        }

        for (i = 0; i < NGX_HTTP_REGISTRY_COUNT_OPERATIONS; i++) {
            active[i] += process->active[i];
        }
    }
}
