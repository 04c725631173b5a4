#!/bin/sh
# Has Maven copy the jars of a pom.xml, once.
#
#   install.sh CACHE POM KAFKA_VERSION
#
# They go to CACHE/jars, for good. Needs Java 17 or later and Maven; fails with the reason.
set -eu

cache=$1 pom=$2 version=$3
[ ! -e "$cache/complete" ] || exit 0
command -v mvn >/dev/null || { echo "mvn is not there: install Maven" >&2; exit 2; }
mkdir -p "$cache"
# One of several that start at once fetches, the others wait.
(
    flock 9
    [ ! -e "$cache/complete" ] || exit 0
    mvn --quiet --batch-mode --file "$pom" dependency:copy-dependencies \
        -Dkafka.version="$version" -DoutputDirectory="$cache/jars" >"$cache/maven.log" 2>&1 || {
        echo "mvn failed:" >&2
        cat "$cache/maven.log" >&2
        exit 2
    }
    touch "$cache/complete"
) 9>"$cache/lock"
