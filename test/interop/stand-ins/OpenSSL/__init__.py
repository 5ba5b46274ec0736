# Stand-in for pyOpenSSL: see ../_osl.py
import crypto
