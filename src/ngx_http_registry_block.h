
/*
 * Blocks of parameters in the configuration, registry_store {} and the like:
 * a table of commands, as a module has one.
 */


#ifndef NGX_HTTP_REGISTRY_BLOCK_H
#define NGX_HTTP_REGISTRY_BLOCK_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Reads a block; "what" is its directive, for messages.  Of a command the
 * name, the numbers of arguments (NGX_CONF_TAKE1..., NGX_CONF_1MORE), set,
 * offset and post count; set is called with conf.
 */

char *ngx_http_registry_block(ngx_conf_t *cf, ngx_command_t *commands,
    const char *what, void *conf);


#endif /* NGX_HTTP_REGISTRY_BLOCK_H */
