# Stand-in for M2Crypto: see ../_osl.py. No connection is ever made with it.
class SSLError(Exception): pass
class Context(object):
    def __init__(self, *a): pass
    def load_cert_chain(self, *a): pass
    def load_cert(self, *a, **k): pass
class Connection(object): pass
class timeout(object):
    def __init__(self, *a, **k): pass
