#!/bin/sh
# Checks the model of the cut with spin: that the protocol holds in every state, and that each deliberate defect is found.
#   docs/model/run.sh          the protocol in small bounds, and all defects
#   docs/model/run.sh defects  only these
#   docs/model/run.sh large    the protocol in all bounds that README.md tells of (at most 8 GiB of memory each)
#   docs/model/run.sh trace DEFECT   the shortest counterexample of one defect, step by step
# Needs spin and gcc (Debian: apt-get install spin gcc libc6-dev). Exit 1 when anything is not as it should be.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=$here/cut.pml
work=$(mktemp -d "${TMPDIR:-/tmp}/cut-model.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
bad=0

# check DEFINES PAN-OPTIONS: leaves what pan has said in `out`. In C: safety only, compressed states.
check() {
  rm -f cut.pml.trail
  # shellcheck disable=SC2086  # several words are meant
  spin $1 -a "$model" > spin.out || { cat spin.out; exit 1; }
  # shellcheck disable=SC2086
  gcc ${4--O2} -w -DSAFETY -DCOLLAPSE -DMEMLIM=8000 ${3-} -o pan pan.c
  # shellcheck disable=SC2086
  ./pan -E -n -m100000 $2 > out || true
}
states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out; }
memory() { sed -n 's/^ *\([0-9]*\)\.[0-9]*.*total actual memory usage.*/\1/p' out; }
assertion() { sed -n 's/^pan:[0-9]*: assertion violated \(.*\) (at depth [0-9]*)$/\1/p' out; }
seconds() { sed -n 's/^pan: elapsed time \([0-9.e+]*\) seconds/\1/p' out; }

holds() {
  check "$1" ""
  verdict=holds
  grep -q 'errors: 0' out || { verdict='DOES NOT HOLD'; bad=1; }
  grep -Eq 'max search depth too small|memory limit|out of memory' out && { verdict='NOT WHOLLY SEARCHED'; bad=1; }
  [ "$(states | sed 's/[.e].*//')" != "" ] || { verdict='NO ANSWER'; bad=1; }
  printf '%-58s %-14s %10s states %6s MiB %8s s\n' "$1" "$verdict" "$(states)" "$(memory)" "$(seconds)"
}

# ends DEFINES: no run goes on for ever, so each comes to an end that was looked at.
ends() {
  # shellcheck disable=SC2086
  spin $1 -a "$model" > spin.out
  gcc -O2 -w -DNP -DNOFAIR -DCOLLAPSE -DMEMLIM=8000 -o pan pan.c
  ./pan -l -n -m100000 > out || true
  verdict='always ends'
  grep -q 'errors: 0' out || { verdict='MAY GO ON FOR EVER'; bad=1; }
  printf '%-58s %-14s %10s states %6s MiB %8s s\n' "$1" "$verdict" "$(states)" "$(memory)" "$(seconds)"
}

# found DEFECT DEFINES WHAT: spin must find a counterexample, and it must be an assertion of ours.
found() {
  check "-D$1 $2" "-m3000" '' -O0 # most are found at once: compiling is what takes long
  if grep -q 'assertion violated' out; then
    printf '%-26s %-46s found after %8s states: %s; %s\n' "$1" "$2" "$(states)" "$3" "$(assertion)"
  else
    printf '%-26s %-46s NOT FOUND in %s states\n' "$1" "$2" "$(states)"
    bad=1
  fi
}

# reached NAME DEFINES: some run must come to the place in the model that REACHED(NAME, ...) marks.
reached() {
  check "-DREACH=$1 $2" "-m3000" '' -O0
  if grep -q 'assertion violated' out; then printf '%-26s %-46s reached\n' "$1" "$2"; else printf '%-26s %-46s NEVER REACHED\n' "$1" "$2"; bad=1; fi
}

one='-DVMS=2 -DFRAMES=1 -DATTEMPTS=1 -DFAULTS=0'
fault='-DVMS=2 -DFRAMES=1 -DATTEMPTS=1 -DFAULTS=1'
pair='-DVMS=2 -DFRAMES=2 -DATTEMPTS=1 -DFAULTS=0'
two='-DVMS=2 -DFRAMES=1 -DATTEMPTS=2 -DFAULTS=0'
late='-DVMS=2 -DFRAMES=1 -DATTEMPTS=2 -DFAULTS=1'

protocol() {
  holds "$one"
  holds "$fault"
  holds "$fault -DSUSPEND"
  holds "$fault -DSHAPED"
  holds "$fault -DSWITCH_DIES"
  holds "$pair"
  holds "$two"
  ends "$fault"
  for place in RECORDED RECEIVED PUT_BACK HELD; do reached "$place" "$one"; done
  reached SECOND_COMMIT "$two"
}

defects() {
  found NO_HOLD              "$one"   'a frame is received before it was sent'
  found NO_RECORD            "$one"   'a frame in transit is not in the snapshot'
  found NO_COPY              "$one"   'what waits when the log closes is in no snapshot'
  found FLIGHTS_FORGOTTEN    "$one -DSHAPED" 'nor is what is in flight'
  found RECORD_TWICE         "$one"   'a frame is in the log twice'
  found FLIP_BEFORE_STOP     "$one"   'what the VM sends in between is in no snapshot'
  found NO_GATE              "$one"   'a frame that was put back is also still in the socket'
  found NO_DRAIN             "$one"   'the same'
  found NOT_READ_EMPTY       "$one"   'what was sent before the cut gets the colour of after it'
  found NO_PUT_BACK          "$one"   'what QEMU had taken is lost'
  found FORWARD_IN_WINDOW    "$one"   'the same, in the run that goes on (hole 34)'
  found VOID_IN_WINDOW       "$one"   'the same (hole 34)'
  found GATE_ANSWERS_LATE    "$one"   'the same (hole 34)'
  found NO_EPOCH_STEP_AT_ABORT "$one" 'a held frame is never released'
  found NO_RUN_AT_VOID       "$one"   'a VM stands for ever'
  found VOID_BESIDE_CUT      "$one"   'a VM stands for ever, or what was made for a void cut stays (hole 32)'
  found COMMIT_BEFORE_SEAL   "$one"   'committed without its parts'
  found EXPIRES_WHEN_SEALED  "$one"   'committed, and its parts are removed (hole 4)'
  found NO_VOID_AT_RESTART   "$fault" 'a cut is open for ever'
  found CUTS_AGAIN_AFTER_RESTART "$fault" 'a window is gone through once more, and a frame is lost (hole 5)'
  found TWO_OUTCOMES         "$late"  'commit and abort (hole 6)'
  found OUTCOME_GOES_FIRST   "$late"  'commit and abort (hole 33)'
  found EPOCH_AGAIN          "$two"   'an epoch does not grow (hole 18)'
  found LATE_ACCEPTED        "$two"   'an answer to the first attempt is taken for one to the second'
}

case "${1-}" in
  '') protocol; defects ;;
  defects) defects ;;
  large)
    holds "-DVMS=3 -DFRAMES=1 -DATTEMPTS=2 -DFAULTS=0"
    holds "-DVMS=3 -DFRAMES=2 -DATTEMPTS=1 -DFAULTS=0"
    holds "-DVMS=3 -DFRAMES=1 -DATTEMPTS=1 -DFAULTS=1"
    holds "-DVMS=2 -DFRAMES=1 -DATTEMPTS=2 -DFAULTS=1"
    holds "-DVMS=2 -DFRAMES=1 -DATTEMPTS=2 -DFAULTS=1 -DSUSPEND"
    ;;
  trace)
    check "-D$2 ${3-$one}" "-i -m3000" -DREACH
    spin "-D$2" ${3-$one} -t -p -g -k cut.pml.trail "$model" || bad=1
    ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$here/run.sh"; exit 2 ;;
esac
exit $bad
