#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The negative control of the lints: each gets small trees with one mistake and
# has to refuse every one of them, and a small good tree that it has to accept.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/leat-lint.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
status=0
tree=$tmp/tree
spdx='/* SPDX-License-Identifier: Apache-2.0 */'

# A tree that is right in every respect.
good_tree()
{
	rm -rf "$tree"
	mkdir -p "$tree/shm" "$tree/persist" "$tree/clientlib" "$tree/daemon" "$tree/tools" \
		"$tree/tests/model" "$tree/tests/weak"
	echo "$spdx" >"$tree/tests/model/ring.pml"
	printf '%s\n' "$spdx" '	.name = "one",' >"$tree/tests/weak/ring_cases.c"
	cat >"$tree/shm/ring.c" <<-END
	$spdx
	/*
	 * | edge | release sites | acquire sites | what is ordered | what breaks without | shown by |
	 * |---|---|---|---|---|---|
	 * | publish | ring_put() | ring_get() | the record | readers see rubbish | model ring, weak one |
	 */
	#include "shm/ring.h"

	void ring_put(struct ring *r)
	{
		/* MO(publish.R) pairs with publish.A in ring_get(): the record. */
		store_release(&r->word, 1);
	}

	int ring_get(struct ring *r)
	{
		/* MO(publish.A) pairs with publish.R in ring_put(). */
		return load_acquire(&r->word);
	}
	END
	cat >"$tree/shm/ring.h" <<-END
	$spdx
	#include "shm/atomic.h"
	END
	cat >"$tree/shm/layout.h" <<-END
	$spdx
	_Static_assert(sizeof(struct layout_a) == 16, "layout_a size 16");
	_Static_assert(offsetof(struct layout_a, one) == 0,
		       "layout_a.one 0 4");
	_Static_assert(offsetof(struct layout_a, two) == 4, "layout_a.two 4 12");
	END
	printf '%s\n' "$spdx" >"$tree/shm/record.h"
	cat >"$tree/shm/FORMAT.md" <<-END
	### \`struct layout_a\`
	| offset | size | name |
	|---|---|---|
	| 0 | 4 | \`one\` |
	| 4 | 12 | two |
	END
	sed 's/layout_a/format_a/g' "$tree/shm/layout.h" >"$tree/persist/format.h"
	sed 's/layout_a/format_a/g' "$tree/shm/FORMAT.md" >"$tree/persist/FORMAT.md"
	printf '%s\n' "$spdx" '#include <stddef.h>' >"$tree/clientlib/leat.h"
	printf '%s\n' '#!/bin/sh' '# SPDX-License-Identifier: Apache-2.0' 'true' >"$tree/tests/t.sh"
}

# green LINT: the good tree passes.
green()
{
	good_tree
	"$here/lint_$1.sh" "$tree" >"$tmp/out" 2>&1 || {
		echo "lint_$1 refuses a good tree:"
		cat "$tmp/out"
		status=1
	}
}

# red LINT WHAT FILE SED-SCRIPT: with that edit made, the lint fails.
red()
{
	good_tree
	touch "$tree/$3"
	[ -s "$tree/$3" ] || echo "$spdx" >"$tree/$3"
	before=$(cat "$tree/$3")
	sed -i "$4" "$tree/$3"
	if [ "$before" = "$(cat "$tree/$3")" ]; then
		echo "the edit for '$2' changes nothing"
		status=1
	elif "$here/lint_$1.sh" "$tree" >"$tmp/out" 2>&1; then
		echo "lint_$1 accepts: $2"
		status=1
	fi
}

green layers
red layers 'shm uses persist' shm/ring.h '$a #include "persist/format.h"'
red layers 'persist uses the ring' persist/format.h '$a #include "shm/ring.h"'
red layers 'clientlib uses a writer of persist' clientlib/x.c '$a #include "persist/store.h"'
red layers 'tools use the ring' tools/cmd_pub.c '$a #include "shm/ring.h"'
red layers 'clientlib uses SQLite' clientlib/x.c '$a #include <sqlite3.h>'
red layers 'daemon uses clientlib' daemon/x.c '$a #include "clientlib/leat.h"'
red layers 'leat.h shows atomics' clientlib/leat.h '$a #include <stdatomic.h>'
red layers 'an include not from the root' shm/ring.h '$a #include "atomic.h"'

green order
red order 'a release site without a tag' shm/ring.c 's/MO(publish.R)//'
red order 'an acquire site without a tag' shm/ring.c 's/MO(publish.A)//'
red order 'an edge that the table lacks' shm/ring.c '/^ \* | publish/d'
red order 'an edge that only the table has' shm/ring.c 's/^ \* | publish.*/&\n&/; s/| publish/| other/2'
red order 'a row without an answer' shm/ring.c 's/| readers see rubbish |/| |/'
red order 'an edge that nothing shows' shm/ring.c 's/| model ring, weak one |/| test_shm_ring |/'
red order 'a model that is not there' shm/ring.c 's/| model ring,/| model rang,/'
red order 'a case that is not there' shm/ring.c 's/weak one/weak two/'
red order 'a removed release site' shm/ring.c '/store_release/d'
red order 'a weakened acquire site' shm/ring.c 's/load_acquire/load_relaxed/'
red order 'a call below the next comment' shm/ring.c 's/store_release.*/&\n\/* Then. *\/\nstore_release(\&r->b, 2);/'
red order 'a tag far above its call' shm/ring.c 's/^store_release.*/f();\nf();\nf();\nf();\nf();\nf();\n&/'
red order 'stdatomic.h elsewhere' shm/ring.h '$a #include <stdatomic.h>'
red order 'a builtin atomic' daemon/x.c '$a static int f(int *p) { return __atomic_load_n(p, 0); }'

green size
long_line=$(printf '%101s' '' | tr ' ' x)
red size 'a line of 101 columns' shm/ring.h "\$a /* $long_line */"
body=$(printf '\\tf();\\n%.0s' $(seq 69))
red size 'a function of 71 lines' shm/x.c "\$a void f(void)\n{\n$body}"
red size 'a file of 801 lines' shm/x.c "\$a $(printf '\\n%.0s' $(seq 800))"
red size 'four nested blocks' shm/x.c '$a void f(void)\n{\n\tif (a) {\n\t\tif (b) {\n\t\t\tif (c) {\n\t\t\t\tif (d) {\n}'

green text
red text 'no licence line' shm/ring.c 1d
red text 'an unfinished place' shm/ring.c '$a /* TO''DO: more */'
red text 'a blank at a line end' shm/ring.c '$a int x; '
red text 'a C++ comment' shm/ring.c '$a // so'
red text 'a failure thrown away' tests/t.sh '$a false || tr''ue'
if command -v shellcheck >/dev/null; then
	red text 'a shell mistake' tests/t.sh '$a cd $nowhere'
fi

green format
red format 'a field that the document lacks' shm/FORMAT.md '/two/d'
red format 'a wrong offset in the document' shm/FORMAT.md 's/| 4 | 12/| 8 | 12/'
red format 'a wrong size in the document' shm/FORMAT.md 's/| 0 | 4/| 0 | 8/'
red format 'a field that the header lacks' shm/FORMAT.md '$a | 16 | 4 | three |'
red format 'a wrong message in the header' shm/layout.h 's/two 4 12/two 4 8/'
red format 'a struct without a heading' shm/FORMAT.md 1d
red format 'a struct without its size' persist/format.h '/sizeof/d'

if command -v "${CLANG_FORMAT:-clang-format}" >/dev/null; then
	good_tree
	cp "$here/../.clang-format" "$tree/"
	printf '%s\nint  f( void ){return 1;}\n' "$spdx" >"$tree/shm/x.c"
	if "$here/lint_style.sh" "$tree" >"$tmp/out" 2>&1; then
		echo 'lint_style accepts a line that clang-format would change'
		status=1
	fi
fi

# Objects and a library with one symbol too many.
mkdir -p "$tmp/build/obj/shm"
symbols()
{
	echo "$1" | ${CC:-gcc} -x c -c -o "$tmp/build/obj/shm/ring.o" -
	LEAT_BUILD=$tmp/build "$here/lint_symbols.sh" >"$tmp/out" 2>&1
}
symbols 'int ring_a; static int other; int *ring(void) { return &other; }' || {
	echo 'lint_symbols refuses good symbols'
	status=1
}
if symbols 'int ring_a; int ringside;'; then
	echo 'lint_symbols accepts a symbol of another name'
	status=1
fi

abi()
{
	mkdir -p "$tmp/abi/clientlib"
	printf 'int leat_one(int a,\n\t     int b);\n%s\n' "$1" >"$tmp/abi/clientlib/leat.h"
	printf 'L {\nglobal:\n\tleat_one;\n%s\nlocal:\n\t*;\n};\n' "$2" >"$tmp/abi/clientlib/libleat.map"
	printf 'int leat_one(void) { return 1; }\n%s\n' "$3" |
		${CC:-gcc} -x c -fPIC -shared -o "$tmp/abi/libleat.so" -
	printf 'int leat_one(void) { return 1; }\n%s\n' "$3" | ${CC:-gcc} -x c -c -o "$tmp/abi/x.o" -
	rm -f "$tmp/abi/libleat.a"
	ar rcs "$tmp/abi/libleat.a" "$tmp/abi/x.o"
	LEAT_BUILD=$tmp/abi "$here/lint_abi.sh" "$tmp/abi" >"$tmp/out" 2>&1
}
abi '' '' '' || { echo 'lint_abi refuses a good library:'; cat "$tmp/out"; status=1; }
if abi 'int leat_two(void);' '' ''; then
	echo 'lint_abi accepts a declaration without a function'
	status=1
fi
if abi '' '	leat_two;' ''; then
	echo 'lint_abi accepts a symbol in the map alone'
	status=1
fi
if abi '' '' 'int leat_two(void) { return 2; }'; then
	echo 'lint_abi accepts an export that nobody declared'
	status=1
fi
if command -v mandoc >/dev/null; then
	good_tree
	mkdir -p "$tree/clientlib/man"
	printf '.Dd x\n.Dt A 3\n.Sh WRONG\n.Zz\n' >"$tree/clientlib/man/a.3"
	if "$here/lint_man.sh" "$tree" >"$tmp/out" 2>&1; then
		echo 'lint_man accepts a broken page'
		status=1
	fi
fi
exit $status
