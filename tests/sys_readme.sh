#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What README.md shows works as it stands there.
. "$(dirname "$0")/harness.sh"

root=$tests/..
export LD_LIBRARY_PATH=$LEAT_BUILD${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# example NAME: the C program of that name.
example()
{
	awk -v first="/* $1.c:" '
		/^```/ { if (on) exit; next_is_first = /^```c$/; next }
		next_is_first { on = index($0, first) == 1; next_is_first = 0 }
		on' "$root/README.md"
}

# build NAME [OPTION...]
build()
{
	local name=$1
	shift
	example "$name" >"$dir/$name.c"
	[ -s "$dir/$name.c" ] || fail "README.md has no program $name"
	# shellcheck disable=SC2086
	${CC-cc} -Wall -Wextra -Werror -I "$root/clientlib" "$@" "$dir/$name.c" -o "$dir/$name" \
		-L "$LEAT_BUILD" -lleat || fail "$name does not compile"
}

sanitized()
{
	case ${LEAT_VARIANT-release} in
	asan | tsan | fuzz) skip 'a sanitized library needs a sanitized program' ;;
	esac
}

programs_work()
{
	sanitized
	build publish -std=c99
	build follow -std=c99
	# The comment that says how to compile them is meant as it stands.
	grep -q 'pkg-config --cflags --libs leat' "$dir/publish.c" || fail 'how to compile it'
	bus_start
	leat stream create greetings
	spawn follow "$dir/follow"
	"$dir/publish" >"$dir/out" || fail "publish ended with status $?"
	"$dir/publish" 'good day' >>"$dir/out" || fail "publish ended with status $?"
	[ "$(grep -c '^durable: shard 0, position [0-9]*$' "$dir/out")" -eq 2 ] ||
		fail "it says $(cat "$dir/out")"
	until_true 20 has_lines "$dir/follow.out" 2 || fail 'the subscriber gets nothing'
	printf 'hello\ngood day\n' | cmp - "$dir/follow.out" || fail 'it gets something else'
	equal "$(leat sub greetings -o earliest -e -f '%k=%s;')" 'greeting=hello;greeting=good day;'
	bus_stop
}

programs_are_short()
{
	local name n
	for name in publish follow; do
		n=$(example "$name" | grep -c '[^[:blank:]]')
		[ "$n" -le 32 ] || fail "$name has $n lines"
	done
}

# The commands of "A first stream", in its order, by a user who has configured nothing. Root's
# defaults are the system's directories, which a test leaves alone: then it is somebody else.
first_stream_works()
{
	local as=()
	mkdir -m 700 "$dir/x" "$dir/s"
	export XDG_RUNTIME_DIR=$dir/x XDG_STATE_HOME=$dir/s HOME=$dir
	if [ "$(id -u)" -eq 0 ]; then
		as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
		cp "$LEAT_BUILD/leat" "$LEAT_BUILD/leatd" "$dir"
		chown -R 65534:65534 "$dir"
		PATH=$dir:$PATH
	fi
	unset LEAT_BUS
	spawn leatd "${as[@]}" leatd --keep
	bus_pid=$spawned
	until_true 20 "${as[@]}" leat stream ls >"$dir/ls" || fail "no bus: $(cat "$dir/leatd.err")"
	[ -S "$dir/x/leat/bus.sock" ] || fail 'the socket is elsewhere'
	"${as[@]}" leat stream create greetings
	spawn sub "${as[@]}" leat sub greetings
	until_true 20 comes_through "${as[@]}" || fail 'nothing comes'
	equal "$("${as[@]}" leat replay greetings | head -n 1)" 'hello world'
	"${as[@]}" leat stat greetings >"$dir/stat"
	has_text "$dir/stat" greetings || fail 'stat does not know the stream'
	bus_stop
}

comes_through()
{
	echo 'hello world' | "$@" leat pub greetings
	[ -s "$dir/sub.out" ]
}

names_exist()
{
	local name
	# Links to files and folders.
	for name in $(grep -o '](\([^)#]*\))' "$root/README.md" | tr -d '()]'); do
		[ -e "$root/$name" ] || fail "$name is not there"
	done
	# Targets of make.
	for name in $(sed -n 's/^\(sudo \)\?make \([a-z]*\).*/\2/p' "$root/README.md"); do
		grep -Eq "^($name:|\\.PHONY:.* $name )" "$root/Makefile" ||
			grep -q "^$name" "$root/Makefile" || fail "make $name is not there"
	done
	# The folders of the repository are all in the map.
	for name in "$root"/*/; do
		name=$(basename "$name")
		[ "$name" = build ] || [ "$name" = "${O-build}" ] || has_text "$root/README.md" "| \\[\`$name/\`\\]" ||
			fail "$name/ is not in the map"
	done
}

header_is_plain()
{
	command -v c++ >/dev/null || skip 'no C++ compiler'
	printf '#include <leat.h>\nint main() { return leat_version() == 0; }\n' >"$dir/x.cc"
	c++ -std=c++11 -pedantic -Wall -Wextra -Werror -I "$root/clientlib" -c "$dir/x.cc" \
		-o "$dir/x.o" || fail 'leat.h is no C++'
	cp "$dir/x.cc" "$dir/x.c"
	sed -i 's/main()/main(void)/' "$dir/x.c"
	${CC-cc} -std=c99 -pedantic -Wall -Wextra -Werror -I "$root/clientlib" -c "$dir/x.c" \
		-o "$dir/x.o" || fail 'leat.h is no C99'
}

harness_case 'the publisher and the subscriber compile and work' programs_work
harness_case 'they are about twenty lines long' programs_are_short
harness_case 'the first stream works as shown' first_stream_works
harness_case 'what README.md names exists' names_exist
harness_case 'leat.h is plain C99 and C++' header_is_plain
harness_end
