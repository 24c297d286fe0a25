# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion of leat(1) for bash.

_leat_streams()
{
	local bus=() i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-b | --bus) bus=(-b "${COMP_WORDS[i + 1]}") ;;
		esac
	done
	# The first column without its title; silent when there is no bus.
	leat "${bus[@]}" stream ls 2>/dev/null | sed -n '2,$s/ .*//p'
}

_leat_options()
{
	local print='--format --json --delimiter --null --key-separator --count --shard
		--unbuffered --quiet'
	case $1 in
	pub)
		echo '--delimiter --null --paragraphs --whole --key --key-separator --key-regex
			--header --shard --ack --quiet'
		;;
	sub) echo "--offset --exit --isolation --name $print" ;;
	replay) echo "--from --to --speed --into $print" ;;
	stat) echo '--json' ;;
	top) echo '--delay --iterations' ;;
	verify) echo '--data --quiet' ;;
	dump) echo '--json --count' ;;
	bench) echo '--quick --all --no-peers --runs --only --list --json --report --dir' ;;
	advise) echo '--quick --json --dir' ;;
	create)
		echo '--shards --ring --segment --retain-time --retain-size --sync --full
			--on-disk-full --memory --hash --checksum --owner --group --mode
			--claim-timeout --rate-limit'
		;;
	ls | describe) echo '--json' ;;
	esac
	echo '--bus --help'
}

# The words that an option's value can be; fails when the option before takes none of these.
_leat_value()
{
	case $1 in
	--ack | --isolation) echo 'ring written durable' ;;
	-o | --offset | --from | --to) echo 'earliest latest' ;;
	--speed) echo 'max 1x 10x' ;;
	--into) _leat_streams ;;
	--sync) echo 'always none' ;;
	--full) echo 'block fail' ;;
	--on-disk-full) echo 'stop drop-oldest' ;;
	--hash) echo 'xxh3 md5' ;;
	--checksum) echo 'on off' ;;
	--only) echo 'peers' ;;
	-D | -k | -K | -H | -s | -c | -f | -d | -n | --delimiter | --key | --key-separator) ;;
	--key-regex | --header | --shard | --count | --format | --name | --delay) ;;
	--iterations | --shards | --ring | --segment | --retain-time | --retain-size) ;;
	--mode | --claim-timeout | --rate-limit) ;;
	*) return 1 ;;
	esac
}

_leat_operands()
{
	case $1 in
	stream) echo 'create ls describe set rm' ;;
	sub | replay | stat | top | verify | describe | set | rm | pub) _leat_streams ;;
	help) echo 'stream pub sub replay stat top verify dump bench' ;;
	bench) echo 'advise' ;;
	esac
}

_leat()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command='' operands=0 words i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-b | --bus) ((i++)) ;;
		-*) ;;
		*)
			if [ -z "$command" ]; then
				command=${COMP_WORDS[i]}
			elif [ "$command" = stream ]; then
				command=${COMP_WORDS[i]}
			else
				((operands++))
			fi
			;;
		esac
	done
	case $prev in
	-b | --bus | --data | --dir | --report)
		compopt -o default
		return
		;;
	--owner) mapfile -t COMPREPLY < <(compgen -u -- "$cur") && return ;;
	--group) mapfile -t COMPREPLY < <(compgen -g -- "$cur") && return ;;
	esac
	if words=$(_leat_value "$prev"); then
		:
	elif [ -z "$command" ]; then
		words='stream pub sub replay stat top verify dump bench help --bus --version --help'
	elif [[ $cur == -* ]]; then
		words=$(_leat_options "$command")
	elif [ "$command" = dump ] || { [ "$command" = pub ] && ((operands > 0)); }; then
		compopt -o default
		return
	elif [ "$command" = set ] && ((operands > 0)); then
		compopt -o nospace
		words='retain-time= retain-size= sync= full= on-disk-full= ring= owner= group= mode=
			claim-timeout= rate-limit='
	else
		words=$(_leat_operands "$command")
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _leat leat
