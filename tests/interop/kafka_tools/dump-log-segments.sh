#!/bin/sh
# Prints what Apache Kafka 4.3.1's DumpLogSegments says of log, index and snapshot files.
#
#   dump-log-segments.sh CACHE FILE... [-- OPTION...]
#
# CACHE is a directory for Kafka's jars (54 MB), filled on first use by Maven. Needs Java 17 or
# later and, for the first use, Maven. Fails with the reason where they are missing.
set -eu

cache=$1
shift
here=$(cd "$(dirname "$0")" && pwd)

command -v java >/dev/null || { echo "java is not there: install Java 17" >&2; exit 2; }
"$here/install.sh" "$cache" "$here/pom.xml" 4.3.1

files=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    files=${files:+$files,}$1
    shift
done
[ $# -eq 0 ] || shift

exec java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$cache/jars/*" \
    org.apache.kafka.tools.DumpLogSegments --files "$files" "$@"
