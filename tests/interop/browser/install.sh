#!/bin/sh
# Chromium, its WebDriver and a font from Debian, for the test of the first page; nothing when they are
# there. Needs root, or sudo that asks for no password.
set -eu
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
  exit 0
fi
as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq >&2
$as_root apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-inter >&2
