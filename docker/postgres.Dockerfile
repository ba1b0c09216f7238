# The image herotill-postgres where no registry gives the official one: Debian's PostgreSQL, which understands the part of the
# official image's environment that we use (POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD_FILE, PGDATA).
ARG SUITE=bookworm

FROM debian:${SUITE}-slim AS build
# No cluster of its own, and nothing of LLVM: without it PostgreSQL does not compile queries, and ours are short.
RUN dpkg-query --show --showformat '${Package}\n' >/slim-packages \
    && mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf \
    && apt-get update -qq && apt-get install -qq -y --no-install-recommends postgresql tzdata >/dev/null
COPY collect-postgres /
RUN /collect-postgres /collected

FROM debian:${SUITE}-slim
COPY --from=build /collected /
RUN groupadd --system --gid 999 postgres \
    && useradd --system --uid 999 --gid 999 --home-dir /var/lib/postgresql --no-log-init postgres \
    && install -d -o 999 -g 999 -m 0700 /var/lib/postgresql/data && install -d -o 999 -g 999 -m 0755 /var/run/postgresql \
    && rm -rf /var/log/*
COPY postgres-entrypoint /usr/local/bin/
ENV PATH=/usr/lib/postgresql/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
USER postgres
EXPOSE 5432
# SIGINT: what is in hand is rolled back, and the connections are closed. SIGTERM would wait for whoever is connected.
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
CMD ["postgres"]
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["pg_isready", "-q", "-h", "127.0.0.1"]
