#!/bin/sh
# Prints what Apache Kafka 4.3.1's DumpLogSegments says of log, index and snapshot files.
#
#   dump-log-segments.sh CACHE FILE... [-- OPTION...]
#
# CACHE is a directory for Kafka's jars: see install.sh.
set -eu

cache=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
"$here/install.sh" "$cache"

files=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    files=${files:+$files,}$1
    shift
done
[ $# -eq 0 ] || shift

exec java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$cache/jars/*" \
    org.apache.kafka.tools.DumpLogSegments --files "$files" "$@"
