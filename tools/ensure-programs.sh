#!/bin/sh
# Tests drive a real Chromium, documents are converted by a real LibreOffice, videos by a real ffmpeg, files scanned by a real
# ClamAV and handed out by a real nginx, and a Redis and a RabbitMQ are killed. Where they are missing and we may install them,
# do; elsewhere the tests that need them are skipped, visibly.
missing=""
found() { for name in "$@"; do command -v "$name" >/dev/null 2>&1 && return 0; done; return 1; }
found chromium chromium-browser google-chrome || missing="$missing chromium"
found soffice libreoffice || missing="$missing libreoffice-writer libreoffice-calc libreoffice-impress libreoffice-draw"
{ found clamd || [ -x /usr/sbin/clamd ]; } || missing="$missing clamav-daemon"
{ found nginx || [ -x /usr/sbin/nginx ]; } || missing="$missing nginx-light"
found ffmpeg || missing="$missing ffmpeg"
found redis-server || missing="$missing redis-server"
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
[ -d /usr/share/fonts/truetype/dejavu ] || missing="$missing fonts-dejavu-core"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing programs for the tests:$missing"
    # shellcheck disable=SC2086 - a list of names
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
fi
echo "not found:$missing; tests that need them will be skipped" >&2
