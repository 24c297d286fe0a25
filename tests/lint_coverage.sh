#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The negative control of `make coverage`: a small tree is built, run and looked at, with a list
# that is true and with lists and runs that are not, each of which coverage.sh has to refuse.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/leat-coverage.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
status=0
tree=$tmp/tree
command -v gcov >/dev/null || { echo 'gcov is missing'; exit 77; }

mkdir -p "$tree/shm" "$tree/persist" "$tree/daemon" "$tree/clientlib" "$tmp/cov"
cat >"$tree/shm/ring.c" <<'END'
int ring_sign(int n)
{
	if (n < 0)
		return -1;
	return 1;
}

int ring_size(int n)
{
	if (n > 100)
		return -1;
	if (n > 10)
		return -1;
	return n ? n : 1;
}

int main(int argc, char **argv)
{
	(void)argv;
	return ring_sign(argc) + ring_size(argc) > 2;
}
END
cd "$tree"
gcc -O0 --coverage -o "$tmp/cov/program" -x c shm/ring.c
(cd "$tmp/cov" && ./program)

# look LIST-EDIT: what the checker says of a list that is true but for that edit.
look()
{
	sed "$1" >"$tmp/list" <<-'END'
	# Nobody asks for less than nothing, or for much.
	shm/ring.c ring_sign: return -1;
	shm/ring.c ring_size: return -1;
	shm/ring.c ring_size: return -1;

	#? It depends.
	shm/ring.c ring_size: return n ? n : 1;

	# Nobody asks for less than one.
	shm/ring.c ring_sign (1) ring_size (3)

	#? It depends.
	shm/ring.c main (1)
	END
	"$here/coverage.sh" "$tmp/cov" "$tmp/list" "$tree" >"$tmp/out" 2>&1
}

# green WHAT LIST-EDIT
green()
{
	look "$2" || {
		echo "coverage.sh refuses $1:"
		cat "$tmp/out"
		status=1
	}
}

# red WHAT LIST-EDIT SENTENCE: refused, and for that reason.
red()
{
	if look "$2"; then
		echo "coverage.sh accepts $1"
		status=1
	elif ! grep -q "^$3" "$tmp/out"; then
		echo "coverage.sh does not say '$3' of $1:"
		cat "$tmp/out"
		status=1
	fi
}

missing='not reached, and no reason is named: shm/ring.c:'
gone='named as not reached, but reached or gone: shm/ring.c '
green 'a list that is true' ''
red 'a line that nothing reaches and nobody names' '/ring_sign/d' "${missing}4 ring_sign: return -1;"
red 'two such lines of which one is named' 3d "${missing}13 ring_size"
red 'a line that is named and was reached' 's/return -1;$/return 1;/;3,4d' "${gone}ring_sign: return 1;"
red 'a line that is named and is not there' 's/sign: return -1/sign: return -2/' "${gone}ring_sign"
red 'a function that is not there' 's/ring_sign/ring_gone/' "${gone}ring_gone"
red 'a reason that holds always for a line that was reached' 's/^#?/#/' "${gone}ring_size: return n ? n : 1;"

more='ways that no decision goes, and no reason is named for more than'
red 'a decision that goes one way and that nobody names' 's/ring_sign (1) //' "$more 0: shm/ring.c ring_sign (1)"
red 'three decisions of which two are named' 's/(3)/(2)/' "$more 2: shm/ring.c ring_size (3)"
red 'a decision that is named and goes all ways' 's/^#? It depends/#/' 'named as going one way, .*main$'
red 'a decision of a function that is not there' 's/ring_sign (1)/&\nshm\/ring.c ring_gone (1)/' \
	'named as going one way, .*ring_gone$'

touch persist/store.c
red 'a file that no test is built with' '' 'no test is built with it: persist/store.c'
rm persist/store.c
rm "$tmp"/cov/*.gcda
red 'a build that nothing was run of' '' 'nothing was run: all'
exit $status
