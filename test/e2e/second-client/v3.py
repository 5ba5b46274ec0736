"""AM API v3 as foreign clients walk it: what jFed's probe and the acceptance suite of geni-tools call, in their order.

usage: v3.py GIVEN.json
"""
import xmlrpc.client

from common import (GENI3, alice, at, bob, check_advertisement, check_get_version, check_manifest, check_slivers, first, later, request, second, text,
                    unpacked, until)
from wire import refused, rule, run, value

am, nobody, stranger = at("/am/3.0"), at("/am/3.0", None), at("/am/3.0", bob)


def sfa(path, **other):
    return [dict({"geni_type": "geni_sfa", "geni_version": "3", "geni_value": text(path)}, **other)]


mine, others, user = sfa(first["credential"]), sfa(second["credential"]), sfa(alice["credential"])
slice_urn = first["urn"]


def action(name, urns=None, options=None):
    return am.PerformOperationalAction(urns or [slice_urn], mine, name, options or {})


def status(urns=None):
    answer = value(am.Status(urns or [slice_urn], mine, {}))
    for s in check_slivers(answer["geni_slivers"], answer["geni_slivers"][0]["geni_allocation_status"]):
        rule("16 17", "Status has a geni_error for each sliver, and it is empty when nothing failed", s["geni_error"] == "", s)
    return answer


def expiries(urns=None):
    return {s["geni_expires"] for s in status(urns)["geni_slivers"]}


def versions():
    for answer in (am.GetVersion(), am.GetVersion({}), nobody.GetVersion(), at("/am/3.0/").GetVersion()):
        check_get_version(answer, 3)
    refused(nobody.ListResources(user, GENI3), [3], "30", "without a certificate all but GetVersion is forbidden, by a struct and not by a dead socket")
    try:
        am.NoSuchMethod()
        rule("8a", "a method that nobody knows is a fault", False)
    except xmlrpc.client.Fault:
        rule("8a", "a method that nobody knows is a fault", True)
    refused(am.SliverStatus(slice_urn, mine, {}), [13], "26", "a method of the other version is unsupported here, by a struct")
    for name in ("Update", "Cancel"):
        refused(getattr(am, name)([slice_urn], mine, {}), [13], "26", "methods of v4 are unsupported, by a struct")


def resources():
    nodes = check_advertisement(value(am.ListResources(user, GENI3)))
    check_advertisement(value(am.ListResources(user, dict(GENI3, arbitrary_option=True))))
    some = check_advertisement(value(am.ListResources(user, dict(GENI3, geni_available=True))))
    rule("24", "with geni_available only nodes that are available are there",
         0 < len(some) <= len(nodes) and all(n.find("{*}available").get("now") == "true" for n in some))
    check_advertisement(unpacked(value(am.ListResources(user, dict(GENI3, geni_compressed=True)))))
    check_advertisement(value(am.ListResources(user, dict(GENI3, geni_compressed=False))))
    refused(am.ListResources(user, {}), [1], "12", "ListResources without geni_rspec_version is BADARGS")
    refused(am.ListResources([], GENI3), [1], "12", "ListResources without any credential is BADARGS")
    other = {"geni_rspec_version": {"type": "GENI", "version": "99"}}
    refused(am.ListResources(user, other), [4], "12", "an RSpec version that is not spoken is BADVERSION")
    value(am.ListResources(user, {"geni_rspec_version": {"type": "GeNi", "version": 3}}))
    rule("11", "RSpec versions are taken in any case, as string or int", True)
    broken = dict(user[0], geni_value=user[0]["geni_value"][:700])
    altered = dict(user[0], geni_value=user[0]["geni_value"].replace("<privileges>", "<privileges><foo/>", 1))
    for wrong in (broken, altered, dict(user[0], geni_type="geni_sfaBROKEN"), dict(broken, geni_type="geni_unknown", geni_version="0")):
        refused(am.ListResources([wrong], GENI3), [1, 3], "8b", "ListResources fails when no credential can be used")
    value(am.ListResources([dict(broken, geni_type="geni_other")] + user, GENI3))
    value(am.ListResources([dict(user[0], geni_version=3, geni_value=xmlrpc.client.Binary(user[0]["geni_value"].encode()))], GENI3))
    rule("10", "a credential is taken as base64 and with its version as an int", True)
    refused(stranger.ListResources(user, GENI3), [3], "8b", "another one's credential gives no rights")
    answer = am.ListResources(user, dict(GENI3, geni_slice_urn=slice_urn))
    refused(answer, [1], "12", "geni_slice_urn is an option of v2: v3 does not take it for an advertisement's")


def empty_slice():
    refused(am.Status([slice_urn], mine, {}), [12], "21", "Status of a slice without slivers is an error")
    described = value(am.Describe([slice_urn], mine, GENI3))
    rule("20", "Describe of a slice without slivers has no slivers and is no error",
         described["geni_slivers"] == [] and described["geni_urn"] == slice_urn, described)
    check_manifest(described["geni_rspec"], [])
    refused(am.Renew([slice_urn], mine, later(days=1), {}))
    refused(am.Provision([slice_urn], mine, GENI3))
    refused(am.Delete([slice_urn], mine, {}))
    answer = refused(action("geni_start"))
    rule("6", "the value of an action that failed is an empty array", answer["value"] == [], answer)
    for bad in ("", "<rspec", request(["one"]).replace('type="request"', 'type="manifest"')):
        refused(am.Allocate(slice_urn, mine, bad, {}), [1], "1", "a bad RSpec is BADARGS")
    refused(am.Status([slice_urn], mine, {}), [12], "21", "Status of a slice without slivers is an error")


def begin():
    allocated = value(am.Allocate(slice_urn, mine, request(["one"]), {}))
    slivers = check_slivers(allocated["geni_slivers"], "geni_allocated", operational=False)
    rule("23", "one node is exactly one sliver", len(slivers) == 1, slivers)
    check_manifest(allocated["geni_rspec"], ["one"], logins=False)
    urn = slivers[0]["geni_sliver_urn"]
    rule("17", "Status by slice and by sliver agree", status()["geni_slivers"] == status([urn])["geni_slivers"])
    refused(action("geni_start"), [13], "13", "an action on what is only allocated is UNSUPPORTED")
    refused(am.Allocate(slice_urn, mine, request(["one"]), {}), [17])
    other = xmlrpc.client.Binary(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJy x")
    keys = [{"urn": alice["urn"], "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJx alice@lab", other]}]
    provisioned = value(am.Provision([urn], mine, {"geni_users": keys}))
    rule("11", "Provision does without geni_rspec_version", True)
    rule("10", "keys are taken as base64", True)
    check_slivers(provisioned["geni_slivers"], "geni_provisioned")
    check_manifest(provisioned["geni_rspec"], ["one"])
    for name in ("geni_start", "geni_restart", "geni_stop"):
        code = action(name)["code"]["geni_code"]
        rule("13", "geni_start, geni_restart and geni_stop right after one another are each done or UNSUPPORTED", code in (0, 13), (name, code))
    for name in ("", "random_action"):
        answer = refused(action(name), [13], "13", "an action that nobody knows is UNSUPPORTED")
        rule("6", "the value of an action that failed is an empty array", answer["value"] == [], answer)
    return urn


def looks(urn):
    described = value(am.Describe([slice_urn], mine, GENI3))
    check_manifest(described["geni_rspec"], ["one"])
    check_manifest(unpacked(value(am.Describe([slice_urn], mine, dict(GENI3, geni_compressed=True)))["geni_rspec"]), ["one"])
    check_slivers(described["geni_slivers"], "geni_provisioned")
    for credentials in (user, others, []):
        refused(am.Describe([slice_urn], credentials, GENI3), [1, 3], "22", "a slice is shown only to who has a credential for it")
    refused(am.Describe([""], mine, GENI3), [1], "22", "an empty URN is an error")
    one = value(am.Describe([urn], mine, GENI3))["geni_slivers"]
    rule("22", "Describe of one sliver has exactly that one", [s["geni_sliver_urn"] for s in one] == [urn], one)
    wrong = urn.replace("+sliver+", "+node+"), urn.rsplit("+", 1)[0] + "+INVALID"
    for bad in wrong:
        for answer in (am.Status([bad], mine, {}), am.Describe([bad], mine, GENI3), am.Renew([bad], mine, later(hours=1), {}),
                       am.Provision([bad], mine, GENI3), am.Delete([bad], mine, {}), action("geni_start", [bad])):
            refused(answer, [1, 12], "22", "a URN that is no sliver's, or of none that ever was, is an error in every method")


def renewals(urn):
    soon = later(minutes=5)
    value(am.Renew([urn], mine, soon, {}))
    rule("18", "Renew may shorten a lease, and Status echoes the very text", expiries([urn]) == {soon}, soon)
    refused(am.Renew([slice_urn], mine, later(days=9), {}), None, "19", "Renew beyond the credential fails")
    rule("19", "and changes nothing", expiries() == {soon})
    for days in (2, 5):
        wanted = later(days=days)
        renewed = value(am.Renew([slice_urn], mine, wanted.replace("Z", "+00:00"), {}))
        check_slivers(renewed, "geni_provisioned")
        rule("18", "after Renew the expiry is the instant asked for, to the second and in the same form", expiries() == {wanted}, renewed)
    granted = value(am.Renew([slice_urn], mine, later(days=9), {"geni_extend_alap": True}))
    rule("19", "with geni_extend_alap as much is granted as can be, and told",
         granted[0]["geni_expires"] <= later(days=8) and expiries() == {granted[0]["geni_expires"]}, granted)


def to_ready(urn):
    """As jFed does: geni_start once it is provisioned, then Status until ready."""
    def settled():
        state = status([urn])["geni_slivers"][0]["geni_operational_status"]
        rule("13", "nothing fails by itself", state != "geni_failed", state)
        return state if state in ("geni_ready", "geni_notready") else None
    if until("a state that lasts", settled) == "geni_notready":
        started = until("geni_start", lambda: not action("geni_start", [urn])["code"]["geni_code"] and action("geni_start", [urn]))
        rule("17", "an action on one sliver lists that one", [s["geni_sliver_urn"] for s in value(started)] == [urn], started)
    until("geni_ready", lambda: status([urn])["geni_slivers"][0]["geni_operational_status"] == "geni_ready")
    value(action("geni_start", [urn]))
    rule("13", "geni_start of what is ready does no harm", True)
    who = [{"urn": bob["urn"], "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJz bob@lab"]}]
    changed = value(action("geni_update_users", [urn], {"geni_users": who}))
    rule("13", "accounts of what is ready can be changed", changed[0]["geni_operational_status"] == "geni_updating_users", changed)
    until("geni_ready", lambda: status([urn])["geni_slivers"][0]["geni_operational_status"] == "geni_ready")
    rspec = value(am.Describe([urn], mine, GENI3))["geni_rspec"]
    rule("25", "the manifest names who may log in now", 'username="%s"' % bob["urn"].rsplit("+", 1)[1] in rspec, rspec)


def end(urn):
    gone = value(am.Delete([urn], mine, {}))
    check_slivers(gone, "geni_unallocated")
    rule("17", "Delete tells the slivers that went", [s["geni_sliver_urn"] for s in gone] == [urn], gone)
    refused(am.Status([slice_urn], mine, {}), [12], "21", "Status of a slice without slivers is an error")
    refused(am.Status([urn], mine, {}), [12], "22", "a sliver that is gone is not known any more")
    refused(am.Delete([slice_urn], mine, {}), [12])
    rule("20", "Describe after Delete is that of an empty slice", value(am.Describe([slice_urn], mine, GENI3))["geni_slivers"] == [])
    again = value(until("the name", lambda: am.Allocate(slice_urn, mine, request(["one"]), {})))
    rule("22", "a sliver's URN is never used again", again["geni_slivers"][0]["geni_sliver_urn"] != urn, again)
    value(am.Delete([slice_urn], mine, {}))


def walk():
    versions()
    resources()
    empty_slice()
    urn = begin()
    looks(urn)
    renewals(urn)
    to_ready(urn)
    end(urn)


run(walk)
