# shellcheck shell=bash
# How is a row of checks run, shown and counted?
#
# Sourced. Each check prints a line, “ok …” or “FAIL …” with what was said below it; the
# last line is “N passed, N failed”, and the exit status follows it.

passed=0
failed=0
work=$(mktemp -d)

# Runs a command that is one check, in this shell.
check() {
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1 </dev/null; then
        echo "ok    $name"
        passed=$((passed + 1))
    else
        echo "FAIL  $name"
        tail -40 "$work/said" | sed 's/^/      /'
        failed=$((failed + 1))
        return 1
    fi
}

# Runs a program that prints such lines itself.
checks() {
    local name=$1 status good bad
    shift
    "$@" >"$work/said" 2>&1 </dev/null
    status=$?
    cat "$work/said"
    good=$(grep -c '^ok ' "$work/said")
    bad=$(grep -c '^FAIL ' "$work/said")
    if [ "$good" = 0 ] || { [ "$status" != 0 ] && [ "$bad" = 0 ]; }; then
        echo "FAIL  $name: did not come to its end (status $status)"
        bad=$((bad + 1))
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
}

# Says what is not checked here.
skip() {
    echo "skip  $1"
}

# Says how it went, and leaves.
close() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" != 0 ]
    exit
}

# A check without which there is no point in going on.
needs() {
    check "$@" || close
}
