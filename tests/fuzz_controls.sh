#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative control of what stands against hostile clients: each guard of the table is taken
# out, what tests it is linked again with that one file changed, and has to fail; and as it is, it
# has to succeed. For VARIANT=asan, because some mistakes only show there.
# TEST_TIMEOUT=1200
set -euo pipefail

build=${LEAT_BUILD:?}
[ "${LEAT_VARIANT-}" = asan ] || { echo 'only with VARIANT=asan'; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cd "$root"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/leat-controls.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
status=0

# The command that made the objects, without the folder's own warnings, and quoted for a shell.
flags=()
eval "flags=($(<"$build/flags"))"
read -ra libs < <(pkg-config --libs check jansson libxxhash liburing liburcu-memb liburcu-cds \
	numa sqlite3 libsystemd)

# What a program is linked with, as the Makefile says it by the second word of its name.
parts()
{
	case $1 in
	*_daemon_*) echo daemon persist shm ;;
	*_tools_*) echo tools clientlib persist shm ;;
	fuzz_ring) echo persist shm ;;
	*) echo clientlib persist shm ;;
	esac
}

# link PROGRAM OBJECT...: the objects first, so that the archives' own are not taken.
link()
{
	local program=$1 archives=() part
	shift
	for part in helper fuzz_main $(parts "$program"); do
		[ "$part" = fuzz_main ] && [[ $program != fuzz_* ]] && continue
		archives+=("$build/tlib/$part.a")
	done
	"${flags[@]}" -w -o "$tmp/$program" "$@" "$build/tobj/tests/$program.o" \
		-Wl,--start-group "${archives[@]}" -Wl,--end-group "${libs[@]}" -lm -ldl
}

run()
{
	local program=$1 arguments=() part=
	[[ $program != fuzz_* ]] || arguments=("$here/corpus/$program")
	# Of the stress test the short half.
	[ "$program" != stress_hostile ] || part=CK_RUN_CASE=stolen
	env ${part:+"$part"} LEAT_BUILD="$build" timeout 300 "$tmp/$program" "${arguments[@]}" \
		>"$tmp/out" 2>&1
}

# green PROGRAM: unchanged it succeeds, linked in this way.
declare -A is_green
green()
{
	[ -z "${is_green[$1]-}" ] || return 0
	is_green[$1]=1
	if ! link "$1" || ! run "$1"; then
		echo "$1 fails as it is:"
		tail -n 20 "$tmp/out"
		status=1
	fi
}

# red WHAT PROGRAM FILE SED-SCRIPT: without that guard the program fails.
red()
{
	local what=$1 program=$2 file=$3
	green "$program"
	mkdir -p "$tmp/$(dirname "$file")"
	sed "$4" "$file" >"$tmp/$file"
	if cmp -s "$file" "$tmp/$file"; then
		echo "the edit for '$what' changes nothing"
		status=1
	elif ! "${flags[@]}" -DLEAT_TESTPOINTS=1 -w -I"$(dirname "$file")" -c \
		-o "$tmp/mutant.o" "$tmp/$file" 2>"$tmp/out" || ! link "$program" "$tmp/mutant.o"; then
		echo "the edit for '$what' does not compile:"
		tail -n 20 "$tmp/out"
		status=1
	elif run "$program"; then
		echo "$program accepts: $what"
		status=1
	fi
}

red 'a record longer than the copy' fuzz_client_ring clientlib/subscribe.c \
	's/unlikely(step > sub->run_len - sub->run_off)/0/'
red 'a short record longer than the copy' fuzz_client_ring clientlib/subscribe.c \
	's/^\t\t     span > left) ||/\t\t     0) ||/'
red 'key and headers longer than the record' fuzz_client_ring clientlib/subscribe.c \
	's/record_parse(word, sub->buffer + sub->run_off, shard->pos, &view) < 0/record_parse(word, sub->buffer + sub->run_off, shard->pos, \&view) < -9999/'
red 'a copy for a successor that nobody checks' fuzz_daemon_drain daemon/shard_succeed.c \
	's/if (shard_drain_unit(new, pos, word, tail, &n_records, &max_ns) == len)/if (len)/'
red 'a unit beyond the tail' fuzz_daemon_drain daemon/shard_drain.c 's/|| span > tail - pos ||/||/'
red 'a tail beyond the limit' fuzz_daemon_drain daemon/shard_drain.c \
	's/tail >= shard->pos && tail <= limit/tail >= shard->pos/'
red 'a tail as publishers wrote it' fuzz_ring shm/ring.c \
	's/^\tif (tail > limit)$/\tif (tail > limit \&\& tail == 0)/'
red 'a word of any kind' fuzz_ring shm/ring.c \
	's/if (!record_word_is_done(word, ring->max_len, ring->len))/if (0)/'
red 'a header beyond the headers' fuzz_ring shm/record.c \
	's/if (headers_len - at < (uint32_t)field.name_len + field.value_len)/if (0)/'
red 'a header that is loaded twice' test_daemon_fetch daemon/shard_drain.c \
	's/record_parse(word, header, pos, &view)/record_parse(word, bytes, pos, \&view)/'
red 'a tail that is loaded twice' test_daemon_fetch shm/ring.c \
	's/return max_u64(tail, ring_reclaimed(ring));/return max_u64(load_relaxed(\&ring->publish->tail), tail);/'
red 'a word that is loaded twice' test_daemon_fetch shm/ring.c \
	's/return ring_lapped(ring, pos) ? 0 : word;/return ring_lapped(ring, pos) ? 0 : ring_word_look(ring, pos);/'
red 'a catalogue that is believed' fuzz_daemon_catalogue daemon/catalogue.c \
	's/ && !options_are_possible(&s->options))/ \&\& false)/'
red 'a request that is not answered' fuzz_daemon_session daemon/session.c \
	's/^\t\tsession_listen(session, EPOLLIN);/\t\t;/'
red 'any word for a name' fuzz_daemon_text daemon/names.c \
	"s/^bool names_is_valid(const char \*name)\$/&\n{\n\treturn name[0] != 0;\n}\nbool names_was_valid(const char *name)/"
red 'any mode' fuzz_daemon_text daemon/options.c "s/ || mode > 0777)/)/"
red 'a part of any length' fuzz_tools_line tools/split.c 's/split->max_len/SIZE_MAX/g'
red 'sleeps of two seconds at least' stress_hostile clientlib/idle.c \
	's/^#define IDLE_SLICE_NS (20 \* NS_PER_MS)/#define IDLE_SLICE_NS (2 * NS_PER_S)/'
red 'a record as it was changed after it was written' test_clientlib_damage \
	clientlib/subscribe.c 's/(is_record && sub->options.isolation == LEAT_ISOLATION_RING)/is_record/'
red 'nonsense that is waited for anew with each look' test_clientlib_damage \
	clientlib/source_ring.c 's/(unlikely(shard->damaged) && shard->pos != shard->damaged_pos)/(shard->damaged)/'
red 'a closed ring whose successor nobody asks for' test_clientlib_damage clientlib/source_ring.c \
	's/== GOVERN_SUCCEEDED && !shard->next)/== GOVERN_SUCCEEDED \&\& 0)/'
red 'who closes what a stranger has sent waits for it' test_daemon_protocol daemon/protocol.c \
	's/(void)unshare(CLONE_FILES);/;/'
red 'users who do not take turns at work' test_daemon_worker daemon/worker.c \
	's/if (other->user == job->user)/if (0)/'
red 'whose job it is, that nobody knows' test_daemon_session daemon/dispatch.c \
	's/^\tjob->job.user = job->session->subject.uid;/\tjob->job.user = 0;/'
red 'users who do not take turns at asking' test_daemon_session daemon/user.c \
	's/if (user->uid == uid)/if (1)/'
red 'long replies that are piled up' test_daemon_session daemon/dispatch.c \
	's/ || reply->packet.body >= 0;/;/'
red "a process that has another's pid" test_daemon_process daemon/process.c \
	's/start_time != 0 && now_started != start_time/0/'
exit $status
