# Stand-in for M2Crypto: see ../_osl.py
import X509, EVP, SSL, RSA
class m2: pass
class BIO: pass
