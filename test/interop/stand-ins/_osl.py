# Stand-ins for the parts of pyOpenSSL and M2Crypto that geni-tools uses, for a Python 2.7 that has neither: they call the
# openssl program (3.0 or later). For test machines only: keys lie in temporary files for a moment.
import subprocess, tempfile, os, base64, re, shutil
class Error(Exception): pass
_cache = {}
def run(args, inp=None):
    k = (tuple(args), inp)
    if inp is not None and k in _cache: return _cache[k]
    p = subprocess.Popen(['openssl'] + args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    o, e = p.communicate(inp)
    if p.returncode: raise Error(' '.join(args) + ': ' + e)
    if inp is not None and len(_cache) < 5000: _cache[k] = o
    return o
def der(pem):
    m = re.search(r'-----BEGIN [^-]+-----(.*?)-----END', pem, re.S)
    return base64.b64decode(m.group(1))
def tlv(b, i):
    l = ord(b[i+1]); h = 2
    if l & 0x80:
        n = l & 0x7f; l = int(b[i+2:i+2+n].encode('hex'), 16); h += n
    return i + h, i + h + l           # content start, end
class Name(object):
    def __init__(self, d=None): self.__dict__['d'] = d or []
    def __getattr__(self, k):
        for a, v in self.d:
            if a == k: return v
        return None
    def __setattr__(self, k, v): self.d.append((k, v))
    def keys(self): return [a for a, _ in self.d]
    def get_components(self): return self.d
    def as_text(self): return ', '.join('%s=%s' % x for x in self.d)
    def subj(self): return ''.join('/%s=%s' % (a, v.replace('\\', '\\\\').replace('/', '\\/').replace('+', '\\+')) for a, v in self.d)
def name_of(pem, which):
    o = run(['x509', '-noout', '-' + which, '-nameopt', 'sep_multiline,sname,utf8'], pem)
    return Name([tuple(x.strip() for x in l.split('=', 1)) for l in o.splitlines()[1:] if '=' in l])
class PKey(object):
    def __init__(self, priv=None, pub=None): self.priv, self._pub = priv, pub
    def generate_key(self, t, bits): self.priv = run(['genrsa', str(bits)])
    @property
    def pub(self):
        if not self._pub: self._pub = run(['pkey', '-pubout'], self.priv)
        return self._pub
    def as_pem(self, *a, **k): return self.priv or self.pub
    def as_der(self): return der(self.pub)
    def type(self): return 6
    def bits(self): return 2048
def load_key(s, cb=None):
    a = ['pkey']
    if 'ENCRYPTED' in s and cb: a += ['-passin', 'pass:' + cb(0)]
    return PKey(run(a, s))
class Ext(object):
    def __init__(self, n, crit, v): self.n, self.c, self.v = n, crit, v
    def get_value(self): return self.v
    def get_name(self): return self.n
    def get_critical(self): return self.c
class X509(object):
    def __init__(self, pem=None):
        self.pem, self.exts, self.serial, self.life, self.sub, self.iss, self.pk = pem, [], 1, 0, None, None, None
    def set_serial_number(self, n): self.serial = n
    def get_serial_number(self): return int(run(['x509', '-noout', '-serial'], self.pem).split('=')[1], 16) if self.pem else self.serial
    def gmtime_adj_notBefore(self, n): pass
    def gmtime_adj_notAfter(self, n): self.life = n
    def set_version(self, v): pass
    def set_subject(self, s): self.sub = s
    def set_issuer(self, s): self.iss = s
    def set_pubkey(self, k): self.pk = k
    def add_extensions(self, l): self.exts += l
    def get_subject(self): return name_of(self.pem, 'subject') if self.pem else self.sub
    def get_issuer(self): return name_of(self.pem, 'issuer') if self.pem else self.iss
    def get_pubkey(self): return PKey(None, run(['x509', '-noout', '-pubkey'], self.pem)) if self.pem else self.pk
    def has_expired(self):
        p = subprocess.Popen(['openssl', 'x509', '-noout', '-checkend', '0'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        p.communicate(self.pem); return p.returncode != 0
    def _date(self, w):
        import time
        s = run(['x509', '-noout', '-' + w], self.pem).split('=')[1].strip()
        return time.strftime('%Y%m%d%H%M%SZ', time.strptime(s, '%b %d %H:%M:%S %Y %Z'))
    def get_notAfter(self): return self._date('enddate')
    def get_notBefore(self): return self._date('startdate')
    def sign(self, key, md):
        d = tempfile.mkdtemp()
        try:
            w = lambda n, s: (open(os.path.join(d, n), 'w').write(s), os.path.join(d, n))[1]
            ik, pub = w('ik', key.priv), w('pub', self.pk.pub)
            ic = w('ic', run(['req', '-x509', '-new', '-key', ik, '-subj', self.iss.subj(), '-days', '2']))
            lines = ['[e]', 'subjectKeyIdentifier=hash']; sec = []
            for e in self.exts:
                if e.n == 'subjectAltName':
                    lines.append('subjectAltName=@s'); sec.append('[s]')
                    for i, x in enumerate(re.split(r',\s*', e.v)):
                        t, v = x.split(':', 1); sec.append('%s.%d=%s' % (t, i, v))
                else: lines.append('%s=%s%s' % (e.n, e.c and 'critical,' or '', e.v))
            ef = w('e', '\n'.join(lines + sec) + '\n')
            self.pem = run(['x509', '-new', '-force_pubkey', pub, '-subj', self.sub.subj(), '-CA', ic, '-CAkey', ik,
                 '-set_serial', str(self.serial), '-days', str(max(1, int(self.life // 86400))), '-' + str(md), '-extfile', ef, '-extensions', 'e'])
        finally: shutil.rmtree(d)
    # M2Crypto flavour
    def as_pem(self): return self.pem
    def get_ext(self, n):
        o = run(['x509', '-noout', '-ext', n], self.pem)
        ls = [l.strip() for l in o.splitlines() if l.strip()]
        if len(ls) < 2: raise LookupError(n)
        return Ext(n, 'critical' in ls[0], ls[1])
    def get_ext_count(self): return 0
    def check_ca(self): return 'CA:TRUE' in run(['x509', '-noout', '-ext', 'basicConstraints'], self.pem)
    def verify(self, pkey):
        b = der(self.pem); s, e = tlv(b, 0); ts, te = tlv(b, s); tbs = b[s:te]; as_, ae = tlv(b, te); alg = b[as_:ae]; ss, se = tlv(b, ae); sig = b[ss+1:se]
        md = {'2a864886f70d010105': 'sha1', '2a864886f70d01010b': 'sha256', '2a864886f70d01010d': 'sha512', '2a864886f70d010104': 'md5'}[alg[2:2+ord(alg[1])].encode('hex')]
        k = ('v', self.pem, pkey.pub)
        if k not in _cache:
            d = tempfile.mkdtemp()
            try:
                for n, x in (('t', tbs), ('s', sig), ('p', pkey.pub)): open(os.path.join(d, n), 'wb').write(x)
                p = subprocess.Popen(['openssl', 'dgst', '-' + md, '-verify', d + '/p', '-signature', d + '/s', d + '/t'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                p.communicate(); _cache[k] = p.returncode == 0 and 1 or 0
            finally: shutil.rmtree(d)
        return _cache[k]
