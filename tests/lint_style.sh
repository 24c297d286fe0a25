#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The sources are as .clang-format says. Skipped where there is no clang-format.
set -eu
. "$(dirname "$0")/lint_common.sh"

tool=${CLANG_FORMAT:-clang-format}
command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
files=$(c_files $folders)
need_some "$files"
"$tool" --dry-run -Werror $files
