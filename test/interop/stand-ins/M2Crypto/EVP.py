# Stand-in for M2Crypto: see ../_osl.py
from _osl import PKey, load_key
def load_key_string(s, cb=None): return load_key(s, cb)
