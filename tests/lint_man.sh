#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mandoc has nothing to say about the manual pages. Skipped where there is none.
set -eu
. "$(dirname "$0")/lint_common.sh"

command -v mandoc >/dev/null || { echo 'no mandoc here'; exit 77; }
pages=$(find tools daemon clientlib -name '*.[1-8]' -type f | sort)
need_some "$pages"
# Cross references to pages that this system lacks are not our mistake.
out=$(mandoc -T lint -W warning $pages 2>&1) || { echo "$out"; exit 1; }
