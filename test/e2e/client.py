"""A GENI client that shares no code with the aggregate: Python's standard library only (xmlrpc.client over ssl).

usage: client.py URL CERT KEY SLICE_URN SLICE_CREDENTIAL OTHER_CERT OTHER_KEY RSPEC USER_URN
Walks the life of a slice as clients of the field do and prints one line for each rule that held.
"""
import base64
import re
import ssl
import sys
import time
import xmlrpc.client
import zlib

url, cert, key, slice_urn, credential_file, other_cert, other_key, rspec_file, user_urn = sys.argv[1:]


def proxy(certificate=None, private=None, path=None):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # as Omni does
    if certificate:
        context.load_cert_chain(certificate, private)
    return xmlrpc.client.ServerProxy(url if path is None else url.replace("/am/3.0", path), context=context)


am, stranger, nobody = proxy(cert, key), proxy(other_cert, other_key), proxy()
cred = [{"geni_type": "geni_sfa", "geni_version": "3", "geni_value": open(credential_file).read()}]
rspec = re.sub(r"<violin:rspec_checkpoint.*?</violin:rspec_checkpoint>", "", open(rspec_file).read(), flags=re.S)
three = {"geni_rspec_version": {"type": "geni", "version": "3"}}


def ok(rule, holds, seen=""):
    if not holds:
        sys.exit("NOT ok %s: %r" % (rule, seen))
    print("ok", rule, flush=True)


def code(answer):
    return answer["code"]["geni_code"]


def refused(rule, answer, *codes):
    right = code(answer) in codes if codes else code(answer) != 0
    ok(rule, right and isinstance(answer["output"], str) and len(answer["output"]) > 10 and answer["value"] is not None, answer)


def value(rule, answer):
    ok(rule, code(answer) == 0 and answer["output"] == "", answer)
    return answer["value"]


def ascii_only(x):
    if isinstance(x, str):
        return all(ord(c) < 128 for c in x)
    if isinstance(x, dict):
        return all(ascii_only(k) and ascii_only(v) for k, v in x.items())
    return not isinstance(x, list) or all(ascii_only(v) for v in x)


def states():
    return [s["geni_operational_status"] for s in am.Status([slice_urn], cred, {})["value"]["geni_slivers"]]


def wait_for(state, seconds=120):
    end = time.time() + seconds
    while True:
        now = states()
        if all(s == state for s in now):
            return
        if "geni_failed" in now and state != "geni_failed" or time.time() > end:
            sys.exit("NOT ok: the slice did not become %s: %r" % (state, am.Status([slice_urn], cred, {})))
        time.sleep(0.2)


def wait_for_snapshot(name, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        slivers = am.PerformOperationalAction([slice_urn], cred, "violin_list", {})["value"]
        if any(s["name"] == name for s in slivers[0].get("violin_snapshots", [])):
            return
        time.sleep(0.2)
    sys.exit("NOT ok: no snapshot %s" % name)


def action(name, options={}, urns=None):
    return am.PerformOperationalAction(urns or [slice_urn], cred, name, options)


# --- GetVersion
for v in (am.GetVersion(), am.GetVersion({}), nobody.GetVersion()):
    ok("geni_api is an int, on top and inside (rule 3)", type(v["geni_api"]) is int and v["geni_api"] == 3 == v["value"]["geni_api"], v)
v = v["value"]
ok("geni_single_allocation is an int, geni_allocate a string (rule 8)", type(v["geni_single_allocation"]) is int and v["geni_allocate"] == "geni_disjoint", v)
ok("RSpec versions are complete (rule 9)", all(
    all(isinstance(e[m], str) for m in ("type", "version", "schema", "namespace")) and isinstance(e["extensions"], list)
    for e in v["geni_request_rspec_versions"] + v["geni_ad_rspec_versions"]), v)
ok("every string is ASCII (rule 5)", ascii_only(v), v)
v2 = proxy(cert, key, "/am/2.0")
ok("the v2 path names v3", "3" in v2.GetVersion()["value"]["geni_api_versions"] and v2.GetVersion()["geni_api"] == 2)

# --- ListResources and who may
refused("no credentials are bad arguments (rule 12)", am.ListResources([], three), 1)
refused("a broken credential is forbidden (rule 8b)", am.ListResources([{**cred[0], "geni_value": cred[0]["geni_value"][:900]}], three), 3)
refused("an altered credential is forbidden", am.ListResources([{**cred[0], "geni_value": cred[0]["geni_value"].replace("<privileges>", "<privileges><foo/>")}], three), 3)
refused("geni_rspec_version must be there (rule 12)", am.ListResources(cred, {}), 1)
refused("an RSpec version not spoken is a bad version", am.ListResources(cred, {"geni_rspec_version": {"type": "GENI", "version": "99"}}), 4)
refused("without a certificate only GetVersion (rule 30)", nobody.ListResources(cred, three), 3)
refused("another user's credential is forbidden", stranger.ListResources(cred, three), 3)
ad = value("the advertisement", am.ListResources(cred, {**three, "arbitrary_option": True}))
ok("each node says whether it is available (rule 24)", ad.count("<node") == ad.count("<available") > 0 and "ad.xsd" in ad, ad)
packed = value("the advertisement, compressed", am.ListResources(cred, {**three, "geni_compressed": True}))
ok("compressed is base64 of zlib in a string", "<rspec" in zlib.decompress(base64.b64decode(packed)).decode())
try:
    am.NoSuchMethod()
    sys.exit("NOT ok: an unknown method was answered")
except xmlrpc.client.Fault:
    ok("an unknown method is a fault", True)

# --- an empty slice; bad requests change nothing
d = value("Describe of an empty slice (rule 20)", am.Describe([slice_urn], cred, three))
ok("has an empty manifest", d["geni_slivers"] == [] and 'type="manifest"' in d["geni_rspec"] and len(d["geni_rspec"]) > 30, d)
refused("Status of an empty slice (rule 21)", am.Status([slice_urn], cred, {}), 12)
refused("Delete of an empty slice", am.Delete([slice_urn], cred, {}), 12)
for what, bad, codes in (
    ("nothing", "", (1,)), ("no XML", "<rspec", (1,)), ("a manifest", rspec.replace('type="request"', 'type="manifest"'), (1,)),
    ("an unknown image", rspec.replace("</sliver_type>", '<disk_image name="urn:publicid:IDN+x+image+no"/></sliver_type>', 1), (12,)),
    ("more than fits", rspec.replace('memory_mib="128"', 'memory_mib="30000"'), (6,)),
):
    refused("a request that is %s" % what, am.Allocate(slice_urn, cred, bad, {}), *codes)
refused("and nothing was changed", am.Status([slice_urn], cred, {}), 12)

# --- the life of a slice
a = value("Allocate", am.Allocate(slice_urn, cred, rspec, {}))
ok("all slivers are geni_allocated", all(s["geni_allocation_status"] == "geni_allocated" for s in a["geni_slivers"]) and len(a["geni_slivers"]) == 2, a)
refused("the same names again", am.Allocate(slice_urn, cred, rspec, {}), 17)
refused("an action before Provision", action("geni_start"), 13)
p = value("Provision without geni_rspec_version (rule 11)", am.Provision([slice_urn], cred, {"geni_users": [{"urn": user_urn, "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB x"]}]}))
ok("a login with port in the manifest (rule 25)", re.search(r'<login [^>]*port="\d+"', p["geni_rspec"]) and 'authentication="ssh-keys"' in p["geni_rspec"], p["geni_rspec"])
ok("all slivers are geni_provisioned", all(s["geni_allocation_status"] == "geni_provisioned" for s in p["geni_slivers"]), p)
sliver = p["geni_slivers"][0]["geni_sliver_urn"]
ok("sliver URNs are of type sliver", "+sliver+" in sliver)
refused("a snapshot of a slice that does not run", action("violin_snapshot"), 13, 14)
end = time.time() + 30
while code(action("geni_start")) == 14 and time.time() < end:
    time.sleep(0.2)
ok("geni_start again does no harm", code(action("geni_start")) == 0)
wait_for("geni_ready")
refused("rollback without any snapshot", action("violin_rollback"), 12)
refused("an unknown action (rule 13)", action("random_action"), 13)
refused("no action", action(""), 13)
refused("a snapshot of one sliver only", action("violin_snapshot", urns=[sliver]), 13)
refused("a URN of type node (rule 22)", am.Status([sliver.replace("+sliver+", "+node+")], cred, {}))
refused("a sliver that never was", am.Status([sliver + "x"], cred, {}), 12)
until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
value("Renew", am.Renew([slice_urn], cred, until, {}))
ok("is echoed to the second (rule 18)", all(s["geni_expires"] == until for s in am.Status([slice_urn], cred, {})["value"]["geni_slivers"]))
refused("Renew beyond the credential (rule 19)", am.Renew([slice_urn], cred, "2099-01-01T00:00:00Z", {}))

# --- snapshots
s = value("violin_snapshot", action("violin_snapshot", {"violin_name": "s1"}))
ok("names the snapshot", all("+snapshot+" in x["violin_snapshot"] for x in s), s)
wait_for_snapshot("s1")
wait_for("geni_ready")
refused("a name twice", action("violin_snapshot", {"violin_name": "s1"}), 17)
refused("rollback to an unknown name", action("violin_rollback", {"violin_snapshot": "nope"}), 12)
value("violin_rollback", action("violin_rollback", {"violin_snapshot": "s1"}))
wait_for("geni_ready")
value("violin_suspend", action("violin_suspend"))
wait_for("violin_suspended")
refused("a snapshot of a suspended slice", action("violin_snapshot"), 13)
value("violin_resume", action("violin_resume"))
wait_for("geni_ready")
value("violin_delete", action("violin_delete", {"violin_snapshot": "s1"}))
wait_for("geni_ready")

# --- the end, and the same slice again
gone = value("Delete", am.Delete([slice_urn], cred, {}))
ok("all slivers are geni_unallocated (rule 17)", all(s["geni_allocation_status"] == "geni_unallocated" and s["geni_expires"] and s["geni_operational_status"] for s in gone), gone)
refused("Status afterwards", am.Status([slice_urn], cred, {}), 12)
end = time.time() + 30
while code(am.Allocate(slice_urn, cred, rspec, {})) == 14 and time.time() < end:
    time.sleep(0.2)
value("Provision of a second life", am.Provision([slice_urn], cred, {}))
while code(action("geni_start")) == 14 and time.time() < end:
    time.sleep(0.2)
wait_for("geni_ready")
refused("it has no snapshots of the first", action("violin_rollback"), 12)
value("its own snapshot may have the old name", action("violin_snapshot", {"violin_name": "s1"}))
wait_for_snapshot("s1")
wait_for("geni_ready")
value("Delete again", am.Delete([slice_urn], cred, {}))
