#!/bin/sh
# Fetches Apache Kafka 4.3.1's jars (54 MB) into CACHE/jars, once.
#
#   install.sh CACHE
#
# Needs Java 17 or later and, for the first use, Maven. Fails with the reason where they are missing.
set -eu

cache=$1
here=$(cd "$(dirname "$0")" && pwd)

command -v java >/dev/null || { echo "java is not there: install Java 17" >&2; exit 2; }
[ ! -e "$cache/complete" ] || exit 0
command -v mvn >/dev/null || { echo "mvn is not there: install Maven" >&2; exit 2; }
mkdir -p "$cache"
# One of several that start at once fetches, the others wait.
(
    flock 9
    [ ! -e "$cache/complete" ] || exit 0
    mvn --quiet --batch-mode --file "$here/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$cache/jars" >"$cache/maven.log" 2>&1 || {
        echo "mvn failed:" >&2
        cat "$cache/maven.log" >&2
        exit 2
    }
    touch "$cache/complete"
) 9>"$cache/lock"
