
/*
 * Reading a block of parameters.  nginx looks its own directives up by
 * module and context, which a block of ours has no part in.
 */


#include "ngx_http_registry_block.h"


typedef struct {
    ngx_command_t  *commands;
    const char     *what;
    void           *conf;
} ngx_http_registry_block_t;


static char *ngx_http_registry_block_param(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static ngx_uint_t ngx_http_registry_block_takes(ngx_command_t *cmd,
    ngx_uint_t n);


char *
ngx_http_registry_block(ngx_conf_t *cf, ngx_command_t *commands,
    const char *what, void *conf)
{
    char                       *rv;
    ngx_conf_t                  save;
    ngx_http_registry_block_t   block;

    block.commands = commands;
    block.what = what;
    block.conf = conf;

    save = *cf;
    cf->handler = ngx_http_registry_block_param;

    /* until *cf is what it was */
    /* cppcheck-suppress autoVariables */

    cf->handler_conf = (void *) &block;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


static char *
ngx_http_registry_block_param(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_registry_block_t *block = conf;

    char           *rv;
    ngx_str_t      *value;
    ngx_command_t  *cmd;

    value = cf->args->elts;

    for (cmd = block->commands; cmd->name.len; cmd++) {

        if (cmd->name.len != value[0].len
            || ngx_strcmp(cmd->name.data, value[0].data) != 0)
        {
            continue;
        }

        if (!ngx_http_registry_block_takes(cmd, cf->args->nelts - 1)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of arguments in \"%V\"",
                               &value[0]);
            return NGX_CONF_ERROR;
        }

        rv = cmd->set(cf, cmd, block->conf);

        if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
            return rv;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" %s", &value[0], rv);
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\" of a %s", &value[0],
                       block->what);
    return NGX_CONF_ERROR;
}


static ngx_uint_t
ngx_http_registry_block_takes(ngx_command_t *cmd, ngx_uint_t n)
{
    if (cmd->type & NGX_CONF_1MORE) {
        return n >= 1;
    }

    /* NGX_CONF_NOARGS, TAKE1, TAKE2 ... are consecutive bits */

    return n < NGX_CONF_MAX_ARGS && (cmd->type & (NGX_CONF_NOARGS << n));
}
