# Stand-in for pyOpenSSL: see ../_osl.py
from _osl import Error, X509, PKey, Name, Ext, load_key, run
FILETYPE_PEM = 1; TYPE_RSA = 6
def X509Extension(n, c, v, **k): return Ext(n, c, v)
class X509Req(object):
    def __init__(self): self.n = Name()
    def get_subject(self): return self.n
def load_certificate(t, s): return X509(run(['x509'], s))
def dump_certificate(t, c):
    if not c.pem: raise Error('unsigned')
    return c.pem
def load_privatekey(t, s, cb=None): return load_key(s, cb)
def dump_privatekey(t, k): return k.as_pem()
