"""AM API v2 as the GENI portal, Omni and the acceptance suite of geni-tools walk it, and what v3 sees of it meanwhile.

usage: v2.py GIVEN.json
"""
from common import (GENI3, alice, at, bob, check_advertisement, check_get_version, check_manifest, first, later, request, second, text, unpacked, until)
from wire import refused, rule, run, value

am, nobody, stranger = at("/am/2.0"), at("/am/2.0", None), at("/am/2.0", bob)
mine, others, user = [text(first["credential"])], [text(second["credential"])], [text(alice["credential"])]
slice_urn = first["urn"]
users = [{"urn": alice["urn"], "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJx alice@lab"]}]
of_slice = dict(GENI3, geni_slice_urn=slice_urn)


def versions():
    for path in ("/am/2.0", "/am/2.0/", "/am", "/", "/RPC2", "", "/protogeni/xmlrpc/am/2.0"):
        check_get_version(at(path).GetVersion(), 2)
    check_get_version(am.GetVersion({}), 2)
    check_get_version(nobody.GetVersion(), 2)
    rule("26", "paths without a version are v2's", True)
    refused(nobody.ListResources(user, GENI3), [3], "30", "without a certificate all but GetVersion is forbidden, by a struct and not by a dead socket")
    refused(am.Status([slice_urn], mine, {}), [13], "26", "a method of the other version is unsupported here, by a struct")


def resources():
    check_advertisement(value(am.ListResources(user, GENI3)))
    check_advertisement(value(am.ListResources(user, dict(GENI3, geni_available=True, arbitrary_option=True))))
    check_advertisement(unpacked(value(am.ListResources(user, dict(GENI3, geni_compressed=True)))))
    check_advertisement(value(am.ListResources(user, {"rspec_version": {"type": "GENI", "version": "3"}})))
    rule("11", "the option that v1 had for geni_rspec_version is taken", True)
    refused(am.ListResources(user, {}), [1], "12", "ListResources without geni_rspec_version is BADARGS")
    refused(am.ListResources([], GENI3), [1], "12", "ListResources without any credential is BADARGS")
    other = {"geni_rspec_version": {"type": "GENI", "version": "99"}}
    refused(am.ListResources(user, other), [4], "12", "an RSpec version that is not spoken is BADVERSION")
    for wrong in (user[0][:700], user[0].replace("<privileges>", "<privileges><foo/>", 1), ""):
        refused(am.ListResources([wrong], GENI3), [1, 3], "8b", "ListResources fails when no credential can be used")
    refused(stranger.ListResources(user, GENI3), [3], "8b", "another one's credential gives no rights")
    rule("20", "the manifest of a slice without slivers is empty and no error", check_manifest(value(am.ListResources(mine, of_slice)), []) == [])


def empty_slice():
    refused(am.SliverStatus(slice_urn, mine, {}), [12], "21", "SliverStatus of a slice without slivers is an error")
    refused(am.RenewSliver(slice_urn, mine, later(days=1), {}))
    refused(am.DeleteSliver(slice_urn, mine, {}))
    for bad in ("", "<rspec", request(["one"]).replace('type="request"', 'type="manifest"')):
        refused(am.CreateSliver(slice_urn, mine, bad, users, {}), [1], "1", "a bad RSpec is BADARGS")
    refused(am.SliverStatus(slice_urn, mine, {}), [12], "21", "SliverStatus of a slice without slivers is an error")


def status():
    answer = value(am.SliverStatus(slice_urn, mine, {}))
    words = ("configuring", "ready", "failed", "unknown")
    rule("17", "SliverStatus has the slice's URN, a word that v2 knows, and geni_expires",
         answer["geni_urn"] == slice_urn and answer["geni_status"] in words and answer["geni_expires"].endswith("Z"), answer)
    rule("17", "each resource has geni_urn, geni_status and geni_error as strings", answer["geni_resources"] and
         all("+sliver+" in r["geni_urn"] and r["geni_status"] in words and type(r["geni_error"]) is str for r in answer["geni_resources"]), answer)
    return answer


def life():
    check_manifest(value(am.CreateSliver(slice_urn, mine, request(["one", "two"]), users, {})), ["one", "two"])
    refused(am.CreateSliver(slice_urn, mine, request(["three"]), users, {}), [17])
    rule("16", "no geni_error where nothing failed", all(r["geni_error"] == "" for r in status()["geni_resources"]))
    check_manifest(value(am.ListResources(mine, of_slice)), ["one", "two"])
    check_manifest(unpacked(value(am.ListResources(mine, dict(of_slice, geni_compressed=True)))), ["one", "two"])
    for credentials in (user, others, []):
        refused(am.ListResources(credentials, of_slice), [1, 3], "22", "a slice is shown only to who has a credential for it")
        refused(am.SliverStatus(slice_urn, credentials, {}), [1, 3], "22", "a slice is shown only to who has a credential for it")
        refused(am.DeleteSliver(slice_urn, credentials, {}), [1, 3], "22", "a slice is shown only to who has a credential for it")
    until("ready", lambda: status()["geni_status"] == "ready")
    rule("13", "CreateSliver boots, SliverStatus says when it is ready", True)

    slivers = value(at("/am/3.0").Status([slice_urn], mine, {}))["geni_slivers"]
    rule("26", "v3 sees what v2 has made", sorted(s["geni_sliver_urn"] for s in slivers) == sorted(r["geni_urn"] for r in status()["geni_resources"]), slivers)
    answer = value(at("/am/3.0").PerformOperationalAction([slice_urn], mine, "geni_restart", {}))
    rule("26", "the portal's restart, by v3, works on what v2 has made", len(answer) == 2, answer)
    until("ready again", lambda: status()["geni_status"] == "ready")


def renewals():
    refused(am.RenewSliver(slice_urn, mine, later(days=9), {}), None, "19", "RenewSliver beyond the credential fails")
    for days in (2, 5):
        wanted = later(days=days)
        rule("18", "RenewSliver is true", value(am.RenewSliver(slice_urn, mine, wanted, {})) is True)
        rule("18", "after Renew the expiry is the instant asked for, to the second and in the same form", status()["geni_expires"] == wanted, wanted)


def end():
    rule("17", "DeleteSliver is true", value(am.DeleteSliver(slice_urn, mine, {})) is True)
    refused(am.SliverStatus(slice_urn, mine, {}), [12], "21", "SliverStatus of a slice without slivers is an error")
    refused(am.DeleteSliver(slice_urn, mine, {}), [12])
    check_manifest(value(am.ListResources(mine, of_slice)), [])
    value(until("the name", lambda: am.CreateSliver(slice_urn, mine, request(["one"]), [])))  # four arguments, as v1 had
    rule("11", "options may be left out", True)

    rule("1", "Shutdown is true", value(am.Shutdown(slice_urn, mine, {})) is True)
    rule("1", "Shutdown again is true", value(am.Shutdown(slice_urn, mine, {})) is True)
    for answer in (am.CreateSliver(slice_urn, mine, request(["x"]), [], {}), am.RenewSliver(slice_urn, mine, later(days=1), {}),
                   am.DeleteSliver(slice_urn, mine, {})):
        refused(answer, [3, 11], "1", "after Shutdown only the operator may act")


def walk():
    versions()
    resources()
    empty_slice()
    life()
    renewals()
    end()


run(walk)
