# The image herotill-radius: FreeRADIUS with rlm_herotill. Built by docker/build, from a directory it prepares.
ARG SUITE=bookworm

FROM debian:${SUITE}-slim AS build
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-venv >/dev/null && rm -rf /var/lib/apt/lists/*
COPY install-wheels /
COPY wheels /wheels
COPY radius-requirements.txt /
RUN /install-wheels /radius-requirements.txt
COPY own /wheels
RUN /install-wheels /wheels/own.txt

FROM debian:${SUITE}-slim
# The user is made before the package would: its number is that of the meter in the image herotill. The package's own
# configuration is not used, and the keys it makes have no business in an image.
RUN groupadd --system --gid 10001 freerad \
    && useradd --system --uid 10001 --gid 10001 --home-dir /etc/freeradius --no-log-init freerad \
    && apt-get update -qq \
    && apt-get install -qq -y --no-install-recommends freeradius freeradius-python3 python3 >/dev/null \
    # Perl came for a module that is not loaded, and is a fifth of it all.
    && rm -rf /usr/lib/*/perl /usr/lib/*/perl5 /usr/lib/*/libperl.so* /usr/share/perl /usr/share/perl5 \
        /usr/lib/freeradius/rlm_perl.so \
    && rm -rf /etc/freeradius/* /etc/ssl/private/* /etc/ssl/certs/ssl-cert-snakeoil.pem \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/* /etc/machine-id \
    && ln -s /opt/herotill/bin/herotill /usr/local/bin/ \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/herotill /var/lib/herotill/journal /run/herotill
COPY --from=build /opt/herotill /opt/herotill
COPY entrypoint.py healthy.py status.conf /usr/local/lib/herotill/

ENV HEROTILL_STATE=/var/lib/herotill HEROTILL_CONFIG=/run/herotill/herotill.yaml PYTHONUNBUFFERED=1
USER freerad
WORKDIR /var/lib/herotill
EXPOSE 1812/udp 1813/udp
ENTRYPOINT ["/opt/herotill/bin/python", "/usr/local/lib/herotill/entrypoint.py"]
CMD ["freeradius"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/opt/herotill/bin/python", "/usr/local/lib/herotill/healthy.py", "radius"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="herotill-radius" org.opencontainers.image.licenses="GPL-2.0-or-later" \
    org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
