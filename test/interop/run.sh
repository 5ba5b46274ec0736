#!/usr/bin/env bash
# Runs the AM API acceptance suite of geni-tools, unmodified, with Omni and its gcf clearinghouse, against a whole
# aggregate of this checkout. Everything it starts ends with it, and everything it writes but the result lies in one
# temporary folder. See docs/am-api.md, "Checked with foreign programs".
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: test/interop/run.sh GENI_TOOLS_DIR PYTHON2 [--hypervisor simulated|qemu] [--result FILE] [--keep]
  GENI_TOOLS_DIR  a checkout of https://github.com/GENI-NSF/geni-tools
  PYTHON2         a Python 2.7 that has dateutil (M2Crypto and pyOpenSSL are not needed: there are stand-ins)
  --hypervisor    simulated VMs (default) or real ones
  --result        where the table is written (default: test/interop/RESULT.md; with qemu RESULT-qemu.md)
  --keep          leaves the temporary folder with all logs
TEXT
}
say() { printf '%s\n' "interop: $*" >&2; }
die() { say "$*"; exit 2; }

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../.." && pwd)
hypervisor=simulated result="" keep=""
words=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --hypervisor) hypervisor=${2:-}; shift ;;
    --result) result=${2:-}; shift ;;
    --keep) keep=yes ;;
    -*) usage >&2; die "there is no option $1" ;;
    *) words+=("$1") ;;
  esac
  shift
done
[ ${#words[@]} = 2 ] || { usage >&2; exit 2; }
case $hypervisor in simulated | qemu) ;; *) die "--hypervisor must be simulated or qemu" ;; esac
tools=$(readlink -f "${words[0]}") || die "there is no folder ${words[0]}"
[ -n "$result" ] || { result=$here/RESULT.md; [ "$hypervisor" = simulated ] || result=$here/RESULT-qemu.md; }

# --- what must be there
suite=$tools/acceptance_tests/AM_API
[ -f "$suite/am_api_accept.py" ] || die "$tools is no checkout of geni-tools: git clone https://github.com/GENI-NSF/geni-tools"
python=$("${words[1]}" -c 'import sys; sys.stdout.write(sys.executable if sys.version_info[:2] == (2, 7) else "")' 2>/dev/null) || true
[ -n "$python" ] || die "${words[1]} is no Python 2.7: geni-tools runs on nothing later (pyenv install 2.7.18)"
for program in xmlsec1 openssl; do
  command -v "$program" >/dev/null || die "$program is missing: apt-get install $program"
done
export PYTHONPATH=$tools/src:$suite${PYTHONPATH:+:$PYTHONPATH}
for module in M2Crypto OpenSSL; do
  "$python" -c "import $module" 2>/dev/null || { PYTHONPATH=$PYTHONPATH:$here/stand-ins; say "$module is not there: with a stand-in"; break; }
done
"$python" -c 'import dateutil.parser' 2>/dev/null ||
  die "Python 2.7 lacks dateutil: $python -m pip install --target DIR python-dateutil six, then again with PYTHONPATH=DIR"
"$root/violin" --version >/dev/null

# --- a folder, and an end to everything
work=$(mktemp -d "${TMPDIR:-/tmp}/violin-interop.XXXXXX")
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  if [ -n "$keep" ]; then say "logs are in $work"; else rm -rf "$work"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM
export HOME=$work/home PYTHONDONTWRITEBYTECODE=1 # Omni keeps answers of GetVersion for a week in ~/.gcf
mkdir -p "$HOME" "$work/roots" "$work/suite"
wait_for() { # WHAT TRIES FILE PATTERN: until the pattern is in the file
  for _ in $(seq "$2"); do
    if grep -q "$4" "$3" 2>/dev/null; then return; fi
    sleep 0.2
  done
  tail -n 20 "$3" >&2 || true
  die "$1 did not come up"
}

# --- the clearinghouse, with certificates of its own
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print s.getsockname()[1]')
cat >"$work/gcf_config" <<TEXT
[global]
base_name=geni//gpo//gcf
rootcadir=$work/roots
[clearinghouse]
host=127.0.0.1
port=$port
keyfile=$work/ch-key.pem
certfile=$work/ch-cert.pem
user_cred_duration=86400
slice_duration=7200
[aggregate_manager]
name=am1
host=127.0.0.1
port=8001
keyfile=$work/am-key.pem
certfile=$work/am-cert.pem
[gcf-test]
keyfile=$work/alice-key.pem
certfile=$work/alice-cert.pem
TEXT
cd "$work"
"$python" "$tools/src/gen-certs.py" -c gcf_config >certs.log 2>&1 || { cat certs.log >&2; die "gen-certs.py failed"; }
"$python" "$tools/src/gen-certs.py" -c gcf_config --notAll --exp -u bob >>certs.log 2>&1 || { cat certs.log >&2; die "gen-certs.py failed"; }
# the suite renews to five days from now; a slice of seven needs no renewing at the clearinghouse (where Omni fails by itself)
"$python" "$tools/src/gcf-ch.py" -c gcf_config --slice_duration 604800 >ch.log 2>&1 &
pids+=($!)

# --- the aggregate under test: it trusts that clearinghouse and nobody else
"$root/violin" up --state "$work/state" --listen 127.0.0.1:0 --hypervisor "$hypervisor" --trust "$work/ch-cert.pem" >up.out 2>up.log &
pids+=($!)
wait_for "the aggregate" 1500 up.out '^ready '
url=$(sed -n 's#^ready \(https://[^/]*\)/.*#\1#p' up.out)
wait_for "the clearinghouse" 150 ch.log 'Listening\|listening'

# --- Omni and the suite
key=$work/id.pub
echo "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4pEPmIkPBaQvQFTS7rW3pO7V0oRrkSkDRHkZGIWVoD interop" >"$key"
omni_config() { # USER
  cat <<TEXT
[omni]
default_cf = my_gcf
users = $1
[$1]
urn=urn:publicid:IDN+geni:gpo:gcf+user+$1
keys=$key
[my_gcf]
type=gcf
authority=geni:gpo:gcf
ch=https://127.0.0.1:$port
cert=$work/$1-cert.pem
key=$work/$1-key.pem
[aggregate_nicknames]
v2=urn:publicid:IDN+violin.localhost+authority+am,$url/am/2.0
v3=urn:publicid:IDN+violin.localhost+authority+am,$url/am/3.0
TEXT
}
omni_config alice >omni_config
omni_config bob >omni_config_bob
request() { # ROOT TYPE, CLIENT ID
  cat <<TEXT
<?xml version="1.0"?>
<rspec type="$1" xmlns="http://www.geni.net/resources/rspec/3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:schemaLocation="http://www.geni.net/resources/rspec/3 http://www.geni.net/resources/rspec/3/request.xsd">
  <node client_id="$2" component_manager_id="urn:publicid:IDN+violin.localhost+authority+am" exclusive="false">
    <sliver_type name="violin-vm"/>
  </node>
</rspec>
TEXT
}
request request one >suite/request.xml
for n in 1 2 3; do request request "node$n" >"suite/request$n.xml"; done
request manifest one >suite/bad.xml
cp "$suite/untrusted-usercred.xml" "$suite/logging.conf" suite/

rows=$work/rows
: >"$rows"
row() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$rows"; printf '  %-4s %-60s %s\n' "$1" "$2" "$3" >&2; }
run_suite() { # API, SCRIPT, ARGUMENTS...: one script of the suite; a row for each of its tests
  local api=$1 script=$2 log=$work/$2-v$1.log ran
  shift 2
  (cd "$work/suite" && timeout 540 "$python" "$suite/$script.py" -c "$work/omni_config" -a "v$api" -V "$api" --un-bound --sleep-time 0 \
    -l logging.conf --logoutput "$log.omni" --vv "$@") >"$log" 2>&1 || true
  ran=$(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} in .*/\1/p' "$log" | tail -1)
  [ -n "$ran" ] || { tail -n 30 "$log" >&2; row "v$api" "$script" "FAIL (it did not run to its end)"; return; }
  local names bad name
  names=$(sed -n 's/^ *def \(test_[A-Za-z_]*\).*/\1/p' "$suite/$script.py")
  bad=$(sed -n 's/^\(FAIL\|ERROR\): \(test_[A-Za-z_]*\).*/\2/p' "$log")
  [ "$(wc -w <<<"$names")" = "$ran" ] || row "v$api" "$script" "FAIL (it ran $ran tests)"
  for name in $names; do
    if grep -qx "$name" <<<"$bad"; then row "v$api" "$name" FAIL; else row "v$api" "$name" pass; fi
  done
}
omni() { # USER, WHAT, ok|refused, ARGUMENTS...: one command of Omni, which must say that it worked, or that the aggregate refused
  local user=$1 what=$2 wanted=$3 log=$work/omni-$1.log config=$work/omni_config
  shift 3
  [ "$user" = alice ] || config=$work/omni_config_$user
  "$python" "$tools/src/omni.py" -c "$config" "$@" >"$log" 2>&1 || true
  if [ "$wanted" = refused ] && grep -q "Error from Aggregate: code 3" "$log"; then row omni "$what" pass
  elif [ "$wanted" = ok ] && ! grep -q "Error from Aggregate\|Traceback\|rror:" "$log"; then row omni "$what" pass
  else cat "$log" >&2; row omni "$what" FAIL
  fi
}

say "v3"; run_suite 3 am_api_accept
say "v2"; run_suite 2 am_api_accept
say "shutdown"; run_suite 3 am_api_accept_shutdown; run_suite 2 am_api_accept_shutdown

# --- a delegated credential, made by a foreign tool
say "delegation"
omni alice "alice makes a slice" ok createslice lent
omni alice "alice saves its credential" ok -V 2 --slicecredfile "$work/lent.xml" -o getslicecred lent
(cd "$work" && "$python" "$tools/src/delegateSliceCred.py" --cert alice-cert.pem --key alice-key.pem --slicecred lent.xml \
  --delegeegid bob-cert.pem --trusted-root ch-cert.pem >delegate.log 2>&1) || { cat delegate.log >&2; die "delegateSliceCred.py failed"; }
delegated=$(ls -t "$work"/*eleg*.xml 2>/dev/null | head -1)
[ -n "$delegated" ] || { cat delegate.log >&2; die "delegateSliceCred.py wrote no credential"; }
cp "$delegated" "$work/suite/delegated.xml"
mv "$work/omni_config" "$work/omni_config_alice"
cp "$work/omni_config_bob" "$work/omni_config" # the suite's test is run by him to whom the slice was lent
run_suite 2 am_api_accept_delegate; run_suite 3 am_api_accept_delegate
for api in 2 3; do
  lent=(-a "v$api" -V "$api" --slicecredfile "$work/lent.xml") delegated=(-a "v$api" -V "$api" --slicecredfile "$work/suite/delegated.xml")
  create=createsliver delete=deletesliver
  [ "$api" = 2 ] || create=allocate delete=delete
  omni bob "v$api: with alice's own credential bob may not $create" refused "${lent[@]}" $create lent "$work/suite/request.xml"
  omni bob "v$api: $create by bob with the delegated credential" ok "${delegated[@]}" $create lent "$work/suite/request.xml"
  omni bob "v$api: $delete by bob with the delegated credential" ok "${delegated[@]}" $delete lent
done

# --- the table
passed=$(grep -c $'\tpass$' "$rows" || true) all=$(wc -l <"$rows")
of() { printf '%s/%s' "$(grep -P "^v$1\ttest_" "$rows" | head -13 | grep -c 'pass$' || true)" 13; }
{
  echo "# The acceptance suite of geni-tools against this aggregate"
  echo
  echo "Written by \`test/interop/run.sh\`, $(date -u +%Y-%m-%d), $hypervisor VMs: geni-violin $("$root/violin" --version), geni-tools" \
    "$(git -C "$tools" log -1 --format=%h 2>/dev/null || echo unknown) unmodified," \
    "$("$python" --version 2>&1), $(xmlsec1 --version | cut -d' ' -f1,2), $(openssl version | cut -d' ' -f1,2)."
  echo "**v3 $(of 3), v2 $(of 2); with the shutdown tests and the delegated credential $passed of $all checks pass.**"
  echo
  echo "| API | test | result |"
  echo "| --- | --- | --- |"
  awk -F'\t' '{ print "| " $1 " | " $2 " | " $3 " |" }' "$rows"
} >"$result"
say "$passed of $all pass (v3 $(of 3), v2 $(of 2)): $result"
[ "$passed" = "$all" ]
