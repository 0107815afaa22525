#!/usr/bin/env bash
# The main job, as a user sees it: every command is printed before its output, and every result is checked.
set -uo pipefail
cd "$HOME" || exit 1

heading() { printf '\n== %s\n' "$*"; }
fail() { echo "demo: FAILED: $*" >&2; exit 1; }
# The words as one would type them: quoted only where a shell needs it.
typed() {
    local word
    for word in "$@"; do
        [[ $word =~ ^[[:alnum:]_./=:,@%+-]+$ ]] && printf ' %s' "$word" || printf " '%s'" "$word"
    done
}
# Prints a command, runs it, and stops unless it ends with the expected code.
expect() {
    local code=$1 got=0
    shift
    printf '$%s\n' "$(typed "$@")"
    "$@" || got=$?
    [ "$got" -eq "$code" ] || fail "exit code $got instead of $code: $*"
}
run() { expect 0 "$@"; }
# Runs a command and stops unless its output contains the text.
shows() {
    local text=$1
    shift
    run "$@" 2>&1 | tee shown || exit 1
    grep -qF -- "$text" shown || fail "no '$text' in the output of: $*"
}
show_file() { printf '$ cat %s\n' "$1"; cat "$1"; }

heading '1. A workspace image'
run condatainer o -s 1G env.img

heading '2. A Python environment, put into it by a Slurm step'
run srun -Q --condatainer-overlay=env.img:rw python3 -m venv /ext3/env
package=tabulate
if srun -Q --condatainer-overlay=env.img:rw python -m pip download -q --no-deps -d /tmp/probe "$package" > pip.log 2>&1; then
    run srun -Q --condatainer-overlay=env.img:rw python -m pip install -q "$package"
else
    echo "demo: no package index can be reached ($(grep -m 1 ERROR pip.log)); taking the package from Debian instead"
    run srun -Q --condatainer-overlay=env.img:rw python3 -m venv --system-site-packages /ext3/env
fi

heading '3. Four tasks read it'
program='import sys, os, tabulate; print("task", os.environ["SLURM_PROCID"], sys.prefix, "tabulate", tabulate.__version__)'
shows '/ext3/env' srun -Q -n4 --condatainer-overlay=env.img python -c "$program"
[ "$(grep -c '^task . /ext3/env' shown)" -eq 4 ] || fail 'not all four tasks used the environment'

heading '4. Batch scripts'
cat > inside.sh <<'SCRIPT'
#!/bin/bash
#SBATCH --condatainer-overlay=env.img --output=inside.out
echo "the script itself: $(command -v python) in $(cat /etc/condatainer-base)"
SCRIPT
show_file inside.sh
run sbatch -Q --wait inside.sh
show_file inside.out
grep -q '/ext3/env/bin/python' inside.out || fail 'the batch script did not run in its overlay'
cat > steps.sh <<'SCRIPT'
#!/bin/bash
#SBATCH --condatainer-overlay=env.img --condatainer-scope=steps --output=steps.out
echo "script:              $(command -v python || echo 'no python here: this is the host')"
echo "srun:                $(srun python -c 'import sys; print(sys.prefix)')"
echo "srun --...-off:      $(srun --condatainer-off sh -c 'test -d /ext3/env || echo on the host')"
SCRIPT
show_file steps.sh
run sbatch -Q --wait steps.sh
show_file steps.out
grep -q 'script: .*this is the host' steps.out || fail 'the batch script left the host'
grep -q '^srun: .*/ext3/env' steps.out || fail 'the step did not run in its overlay'
grep -q 'off: .*on the host' steps.out || fail '--condatainer-off did not keep the step on the host'

heading '5. An image of root turns fakeroot on'
run condatainer overlay chown --root env.img
shows 'fakeroot turned on' srun -Q --condatainer-overlay=env.img id -u
grep -qx 0 shown || fail 'id -u is not 0'
run condatainer overlay chown env.img
shows "$(id -u)" srun -Q --condatainer-overlay=env.img id -u

heading '6. Failures are passed on, mistakes are named'
expect 7 srun -Q --condatainer-overlay=env.img sh -c 'exit 7'
expect 1 srun -Q --condatainer-overlay=envv.img true

heading 'The main job works.'
