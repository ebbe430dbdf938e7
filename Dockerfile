# A registry in a container:
#
#     docker build -t ngx-registry .
#     docker run -p 5000:5000 -v registry:/var/lib/registry ngx-registry
#
# Another nginx.conf may be mounted over /etc/nginx/nginx.conf.

FROM debian:bookworm-slim AS build

WORKDIR /src
COPY config dev ./
COPY src src
RUN ./dev build


FROM debian:bookworm-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
           ca-certificates nginx libjansson4 libmemcached11 \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o www-data -g www-data /var/lib/registry

COPY --from=build /src/build/ngx_http_registry_module.so \
     /usr/lib/nginx/modules/
COPY conf/examples/docker.conf /etc/nginx/nginx.conf

RUN nginx -t

EXPOSE 5000
VOLUME /var/lib/registry
STOPSIGNAL SIGQUIT
CMD ["nginx"]
