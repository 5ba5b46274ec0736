# Stand-in for M2Crypto: see ../_osl.py
from _osl import X509, Error as X509Error, run
def load_cert_string(s, *a): return X509(run(['x509'], s))
def load_cert(f, *a): return X509(run(['x509', '-in', f]))
