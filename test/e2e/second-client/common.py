"""What the walks of both versions have in common: the actors, their credentials, and what every list and RSpec must be."""
import base64
import datetime
import json
import re
import sys
import time
import xml.etree.ElementTree as xml
import zlib

from wire import Broken, proxy, rule, value

NS = "{http://www.geni.net/resources/rspec/3}"
LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
GENI3 = {"geni_rspec_version": {"type": "geni", "version": "3"}}

given = json.load(open(sys.argv[1]))
base = given["url"]  # https://HOST:PORT
alice, bob = given["alice"], given["bob"]
first, second = given["first"], given["second"]  # slices of alice


def text(path):
    with open(path) as file:
        return file.read()


def at(path, who=alice):
    return proxy(base + path, who and who["certificate"], who and who["key"])


def request(names):
    """A request as the acceptance suite has it: bare nodes, no sizes, no network."""
    nodes = "".join('<node client_id="%s" exclusive="false"><sliver_type name="default-vm"/></node>' % n for n in names)
    return ('<?xml version="1.0"?><rspec type="request" xmlns="http://www.geni.net/resources/rspec/3" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:other="urn:somebody:else" xsi:schemaLocation='
            '"http://www.geni.net/resources/rspec/3 http://www.geni.net/resources/rspec/3/request.xsd">%s'
            '<other:remark colour="green">keep me</other:remark></rspec>' % nodes)


def later(**span):
    """An instant from now, to the second, as RFC 3339."""
    return stamp(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**span))


def stamp(when):
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def unpacked(packed):
    return zlib.decompress(base64.b64decode(packed)).decode("ascii")


def check_get_version(answer, api):
    v = value(answer)
    rule("3", "geni_api is an int on top and inside, and that of the path",
         type(answer["geni_api"]) is int and answer["geni_api"] == v["geni_api"] == api, answer)
    versions = v["geni_api_versions"]
    rule("26", "geni_api_versions names a URL for each version, under a string", set(versions) == {"2", "3"} and
         all(versions[n] == "%s/am/%s.0" % (base, n) for n in versions), versions)
    lists = v["geni_request_rspec_versions"], v["geni_ad_rspec_versions"]
    for entry in lists[0] + lists[1]:
        rule("9", "each RSpec version has type, version, schema and namespace as strings and extensions as an array",
             all(type(entry[m]) is str for m in ("type", "version", "schema", "namespace")) and type(entry["extensions"]) is list, entry)
    for entries in lists:
        rule("9", "GENI 3 is among the RSpec versions", any(e["type"].lower() == "geni" and e["version"] == "3" for e in entries), entries)
    kinds = [(k["geni_type"], k["geni_version"]) for k in v["geni_credential_types"]]
    rule("9", "credential types are strings, geni_sfa 3 among them, none twice", ("geni_sfa", "3") in kinds and len(set(kinds)) == len(kinds), kinds)
    rule("8", "geni_single_allocation is an int 0 or 1, geni_allocate one of three words", type(v["geni_single_allocation"]) is int and
         v["geni_single_allocation"] in (0, 1) and v["geni_allocate"] in ("geni_single", "geni_disjoint", "geni_many"), v)
    return v


def check_advertisement(text_of):
    root = xml.fromstring(text_of)
    rule("24", "an advertisement says that it is one, by type and schemaLocation", root.tag == NS + "rspec" and root.get("type") == "advertisement" and
         "http://www.geni.net/resources/rspec/3/ad.xsd" in root.get(LOCATION), text_of)
    nodes = root.findall(NS + "node")
    rule("24", "every advertised node says whether it is available now",
         nodes and all(n.find(NS + "available").get("now") in ("true", "false") for n in nodes), text_of)
    return nodes


def check_manifest(text_of, names, logins=True):
    root = xml.fromstring(text_of)
    rule("23", "a manifest says that it is one, by type and schemaLocation", root.tag == NS + "rspec" and root.get("type") == "manifest" and
         "http://www.geni.net/resources/rspec/3/manifest.xsd" in root.get(LOCATION), text_of)
    nodes = root.findall(NS + "node")
    rule("23", "a manifest has the client_ids of the request", sorted(n.get("client_id") for n in nodes) == sorted(names), text_of)
    if names:
        rule("23", "a manifest keeps extensions that nobody here knows", root.find("{urn:somebody:else}remark").text == "keep me", text_of)
        rule("23", "each node of a manifest has a sliver_id and a component_id",
             all("+sliver+" in n.get("sliver_id") and "+node+" in n.get("component_id") for n in nodes), text_of)
    for node in nodes if logins else []:
        login = node.find("%sservices/%slogin" % (NS, NS))
        rule("25", "each login has authentication, hostname, username and a port that is a number",
             login is not None and login.get("authentication") == "ssh-keys" and
             login.get("hostname") and login.get("username") and int(login.get("port")) > 0, text_of)
    return nodes


def check_slivers(slivers, allocation, operational=True):
    rule("17", "a list of slivers is an array of structs of strings", type(slivers) is list and
         all(type(v) is str for s in slivers for m, v in s.items() if m.startswith("geni_")), slivers)
    for s in slivers:
        rule("17", "each sliver has geni_sliver_urn of type sliver, geni_expires and geni_allocation_status", "+sliver+" in s["geni_sliver_urn"] and
             re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", s["geni_expires"]) and s["geni_allocation_status"] == allocation, s)
        if operational:
            rule("17", "each sliver has a geni_operational_status", re.match(r"[a-zA-Z0-9][a-zA-Z0-9_]*$", s["geni_operational_status"]), s)
    return slivers


def until(what, ask, seconds=120):
    """Asks again until the answer is something; clients of the field wait for minutes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise Broken("%s did not come within %d s" % (what, seconds))
