# The image herotill: the daemon, the commands herotill and herotill-nas. Built by docker/build, from a directory it prepares.
ARG SUITE=bookworm

FROM debian:${SUITE}-slim AS build
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-venv >/dev/null && rm -rf /var/lib/apt/lists/*
COPY install-wheels /
COPY wheels /wheels
COPY requirements.txt /
RUN /install-wheels /requirements.txt
COPY own /wheels
RUN /install-wheels /wheels/own.txt

FROM debian:${SUITE}-slim
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends python3 >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/* /etc/machine-id \
    && ln -s /opt/herotill/bin/herotill /opt/herotill/bin/herotill-nas /usr/local/bin/ \
    # The user FreeRADIUS is in herotill-radius, by number: the meter removes old segments of its journal.
    && groupadd --system --gid 10001 herotill \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/herotill --no-log-init herotill \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/herotill /var/lib/herotill/journal /run/herotill
COPY --from=build /opt/herotill /opt/herotill
COPY entrypoint.py prepare.py new_secrets.py healthy.py /usr/local/lib/herotill/

# Where herotill looks, also when it is typed in a running container: the entry point has written the settings there.
ENV HEROTILL_STATE=/var/lib/herotill HEROTILL_CONFIG=/run/herotill/herotill.yaml PYTHONUNBUFFERED=1
USER herotill
WORKDIR /var/lib/herotill
ENTRYPOINT ["/opt/herotill/bin/python", "/usr/local/lib/herotill/entrypoint.py"]
CMD ["herotill", "serve", "--without", "meter"]
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
    CMD ["/opt/herotill/bin/python", "/usr/local/lib/herotill/healthy.py", "daemon"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="herotill" org.opencontainers.image.licenses="GPL-2.0-or-later" \
    org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
