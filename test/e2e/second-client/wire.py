"""XML-RPC over TLS as old clients speak it, with Python's standard library only. Nothing here is shared with the aggregate.

Every answer is held against the rules that concern the wire itself, whatever was asked. The rules and their numbers are
those of docs/am-api.md, "Rules that clients live by".
"""
import re
import ssl
import sys
import xmlrpc.client

CODES = set(range(18)) | {24}
asserted = set()


class Broken(Exception):
    """A rule that does not hold."""


def rule(numbers, text, holds, seen=""):
    """Asserts that `text` holds; `numbers`: the rules that it is about, separated by spaces."""
    if not holds:
        raise Broken("rule %s: %s; seen: %.1500r" % (numbers, text, seen))
    if (numbers, text) not in asserted:
        print("ok rule %s: %s" % (numbers, text), flush=True)
    asserted.add((numbers, text))


class Transport(xmlrpc.client.SafeTransport):
    """Looks at each answer as bytes before anything has made friendlier things of it."""

    def send_content(self, connection, body):
        connection.putheader("Content-Type", "text/xml")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)

    def parse_response(self, response):
        rule("1", "every answer to a call is HTTP 200", response.status == 200, response.status)
        raw = response.read()
        rule("5", "every answer is pure ASCII", all(byte < 128 for byte in raw), raw)
        banned = re.search(rb"<(nil|ex:nil|dateTime\.iso8601|base64|i8|double)\b", raw)
        rule("4", "no answer has nil, dateTime, base64, i8 or double", banned is None, raw)
        parser, unmarshaller = self.getparser()
        parser.feed(raw)
        parser.close()
        return unmarshaller.close()


def proxy(url, certificate=None, key=None):
    """An endpoint. Without a certificate nobody knows who asks."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # as Omni and geni-lib do
    if certificate:
        context.load_cert_chain(certificate, key)
    return xmlrpc.client.ServerProxy(url, transport=Transport(context=context))


def structured(answer):
    """Holds a result struct against the rules for all of them."""
    rule("1", "every result is a struct of code, value and output", isinstance(answer, dict) and {"code", "value", "output"} <= set(answer), answer)
    code = answer["code"].get("geni_code")
    rule("2 3", "geni_code is an int that every client knows", type(code) is int and code in CODES, answer["code"])
    rule("2", "am_code, where there is one, is an int, and am_type a string", type(answer["code"].get("am_code", 0)) is int and
         type(answer["code"].get("am_type", "")) is str, answer["code"])
    rule("6", "value is there and not null", answer["value"] is not None, answer)
    rule("7", "output is a string", type(answer["output"]) is str, answer)
    rule("15", "no call is answered with INPROGRESS", code != 16, answer)
    return code


def value(answer):
    """What a call that must succeed has answered."""
    code = structured(answer)
    rule("7", "output is empty on success", code != 0 or answer["output"] == "", answer)
    if code != 0:
        raise Broken("a call that must succeed answered %r" % answer)
    return answer["value"]


def refused(answer, codes=None, numbers="7", text="a refusal says why in one sentence"):
    """A call that must not succeed; `codes`: those that it may answer."""
    code = structured(answer)
    rule(numbers, text, code != 0 if codes is None else code in codes, answer)
    rule("7", "a refusal says why in one sentence", len(answer["output"]) > 10, answer)
    return answer


def run(walk):
    """Runs a walk and ends the program with what became of it."""
    try:
        walk()
    except Broken as broken:
        sys.exit("NOT ok %s" % broken)
    numbers = sorted({n for names, _ in asserted for n in names.split()}, key=lambda n: (int(re.match(r"\d+", n).group()), n))
    print("rules asserted: %s" % " ".join(numbers), flush=True)
