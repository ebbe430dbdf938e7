
/*
 * Credentials files.  What is in them is never logged.
 */


#include "ngx_http_registry_token.h"


static ngx_int_t ngx_http_registry_login_text(
    ngx_http_registry_login_t *login, u_char **text, size_t *len,
    const char **reason);
static ngx_int_t ngx_http_registry_login_parse(
    ngx_http_registry_login_t *login, u_char *text, size_t len,
    const char **reason);


ngx_int_t
ngx_http_registry_login_read(ngx_http_registry_login_t *login,
    ngx_log_t *log, const char **reason)
{
    size_t      len;
    u_char     *text;
    ngx_int_t   rc;

    rc = ngx_http_registry_login_text(login, &text, &len, reason);

    if (rc == NGX_OK) {
        rc = ngx_http_registry_login_parse(login, text, len, reason);
        ngx_explicit_memzero(text, len);
        free(text);
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_login_text(ngx_http_registry_login_t *login,
    u_char **text, size_t *len, const char **reason)
{
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    *text = NULL;

    fd = ngx_open_file(login->path.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        *reason = "cannot be opened";
        return NGX_ERROR;
    }

    n = -1;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        *reason = "is no file";

    } else if (ngx_file_size(&fi) > REGISTRY_CREDENTIALS_FILE_MAX) {
        *reason = "is too large";

    } else {
        login->uniq = ngx_file_uniq(&fi);
        login->mtime = ngx_file_mtime(&fi);
        login->size = ngx_file_size(&fi);

        *reason = "cannot be read";
        *text = malloc(login->size + 1);

        if (*text) {
            n = read(fd, *text, login->size);
        }
    }

    (void) ngx_close_file(fd);

    if (n == -1) {
        free(*text);
        return NGX_ERROR;
    }

    *len = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_login_parse(ngx_http_registry_login_t *login,
    u_char *text, size_t len, const char **reason)
{
    char                    *basic;
    size_t                   size;
    registry_str_t           in, user, password;
    registry_status_e        status;
    registry_credentials_t   found;

    in.data = (char *) text;
    in.len = len;

    status = registry_credentials_find(in, login->hosts, login->nhosts,
                                       &found, reason);

    if (status != REGISTRY_OK) {
        if (status == REGISTRY_NOMEM) {
            *reason = "cannot be read: no memory";
        }

        return NGX_ERROR;
    }

    user.data = found.user;
    user.len = ngx_strlen(found.user);
    password.data = found.password;
    password.len = ngx_strlen(found.password);

    size = registry_basic_size(user.len, password.len);
    basic = malloc(size);

    if (basic == NULL
        || registry_basic_value(user, password, basic, size, &size)
           != REGISTRY_OK)
    {
        *reason = "has a user that cannot be sent";
        free(basic);
        registry_credentials_free(&found);
        return NGX_ERROR;
    }

    ngx_http_registry_login_forget(login);

    login->found = found;
    login->basic.data = (u_char *) basic;
    login->basic.len = size;
    login->hash = ngx_murmur_hash2((u_char *) basic, size) | 1;

    return NGX_OK;
}


void
ngx_http_registry_login_forget(ngx_http_registry_login_t *login)
{
    if (login->basic.data) {
        ngx_explicit_memzero(login->basic.data, login->basic.len);
        free(login->basic.data);
        ngx_str_null(&login->basic);
    }

    registry_credentials_free(&login->found);
}


void
ngx_http_registry_login_refresh(ngx_http_registry_login_t *login,
    ngx_log_t *log)
{
    ngx_err_t        err;
    const char      *reason;
    ngx_file_info_t  fi;

    if (login->path.len == 0 || login->looked == ngx_time()) {
        return;
    }

    login->looked = ngx_time();

    if (ngx_file_info(login->path.data, &fi) != NGX_FILE_ERROR
        && ngx_file_uniq(&fi) == login->uniq
        && ngx_file_mtime(&fi) == login->mtime
        && ngx_file_size(&fi) == login->size)
    {
        login->failed = 0;
        return;
    }

    if (ngx_http_registry_login_read(login, log, &reason) == NGX_OK) {
        login->failed = 0;
        ngx_log_error(NGX_LOG_NOTICE, log, 0, "read credentials \"%V\" again",
                      &login->path);
        return;
    }

    err = ngx_errno;

    if (!login->failed) {
        login->failed = 1;
        ngx_log_error(NGX_LOG_WARN, log, err,
                      "credentials \"%V\" have changed, but the file %s; "
                      "those from before are kept", &login->path, reason);
    }
}
