#!/usr/bin/env bash
# Times how long a server takes from the start of its process to its first answers.
set -euo pipefail
cd "$HOME"
mkdir place
condatainer -q o -s 10G env.img
printf '\n| | ms | quartiles |\n|:---|---:|:---|\n'
first_answer "$(command -v condatainer)" place squashfs:/srv/base/base.sqf ext:env.img
