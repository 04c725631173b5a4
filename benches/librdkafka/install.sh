#!/bin/sh
# Builds the load against Debian's librdkafka and installs that first where it is missing.
#
#   install.sh BINARY
#
# Needs gcc and, for the first use, root, or sudo that asks for no password.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -e /usr/include/librdkafka/rdkafka.h ]; then
  as_root=
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  export DEBIAN_FRONTEND=noninteractive
  $as_root apt-get update -qq >&2
  $as_root apt-get install -y -qq --no-install-recommends librdkafka-dev >&2
fi
exec gcc -O2 -Wall -Wextra -Werror -o "$1" "$here/load.c" -lrdkafka -lpthread
