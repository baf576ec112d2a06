"""Logging in: users, the connected app, the four grants, sessions."""

import base64
import binascii
import datetime
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import threading
import time
from urllib.parse import parse_qsl, unquote_plus

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from errors import OAuthError
from wire import Response

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOGIN_HOSTS = ("https://login.salesforce.com", "https://test.salesforce.com")
#: an assertion may live for three minutes; clocks may differ a little
JWT_LIFE = 180 + 60
NO_CACHE = "no-cache,must-revalidate,max-age=0,no-store,private"


class Grants(dict):
    """A set of (object, field) pairs that can also be asked as a dictionary."""

    def __missing__(self, key):
        return False


class User:
    """Somebody who can log in, and what he may see."""

    def __init__(self, username, user_id, password="", security_token="", active=True,
                 approved=True, profile_name="Standard User"):
        self.username = username
        self.id = user_id
        self.password = password
        self.security_token = security_token
        self.active = active
        self.approved = approved
        self.profile_name = profile_name
        self.hidden = Grants()              # (object, field)
        self.hidden_objects = Grants()      # object
        self.read_only = Grants()           # (object, field)
        self.read_only_objects = Grants()

    def to_json(self):
        out = dict(vars(self))
        for name in ("hidden", "hidden_objects", "read_only", "read_only_objects"):
            out[name] = [list(key) if isinstance(key, tuple) else key for key in out[name]]
        return out

    @classmethod
    def from_json(cls, data):
        user = cls(data["username"], data["id"])
        for name, value in data.items():
            if isinstance(getattr(user, name), Grants):
                value = Grants.fromkeys(
                    (tuple(key) if isinstance(key, list) else key for key in value), True)
            setattr(user, name, value)
        return user


class Session:
    def __init__(self, user, now):
        self.user = user
        self.created = now
        # idle time is real time: a test that turns the org's clock ends no session by that
        self.used = time.monotonic()


class OAuth:
    def __init__(self, org):
        self.org = org
        self.lock = threading.RLock()
        self.users = {}
        self.sessions = {}
        self.refresh_tokens = {}            # token -> username
        self.rotate = False
        self.app = {}
        self.grants = {"jwt", "client_credentials", "refresh_token", "password"}
        self.public_key = None

    # -- set-up --------------------------------------------------------------------------------

    def set_up(self, state, users):
        """Take up what the state folder holds, or make users, app and keys."""
        self.key_file = os.path.join(state, "app.key")
        self.certificate_file = os.path.join(state, "app.crt")
        if not os.path.exists(self.key_file):
            make_key_pair(self.key_file, self.certificate_file)
        with open(self.certificate_file, "rb") as file:
            self.public_key = x509.load_pem_x509_certificate(file.read()).public_key()
        saved = self.org.store.get_meta("oauth")
        if saved:
            self.app = saved["app"]
            self.refresh_tokens = saved["refresh_tokens"]
            self.rotate = saved["rotate"]
            self.grants = set(saved["grants"])
            self.users = {data["username"]: User.from_json(data) for data in saved["users"]}
            return
        self.users = {user.username: user for user in users}
        self.app = {"client_id": "3MVG9" + secrets.token_urlsafe(48).replace("-", "."),
                    "client_secret": secrets.token_hex(32).upper(),
                    "run_as": "sync@example.com"}
        self.refresh_tokens = {self.new_refresh_token(): "sync@example.com"}
        self.save()

    def save(self):
        with self.lock:
            self.org.store.set_meta("oauth", {
                "app": self.app, "refresh_tokens": self.refresh_tokens, "rotate": self.rotate,
                "grants": sorted(self.grants),
                "users": [user.to_json() for user in self.users.values()]})

    @staticmethod
    def new_refresh_token():
        return "5Aep861" + secrets.token_urlsafe(48).replace("-", ".")

    # -- sessions ------------------------------------------------------------------------------

    def open_session(self, user):
        token = "%s!AQ%s.%s_%s" % (self.org.id[:15], secrets.token_hex(20), secrets.token_hex(8),
                                   secrets.token_hex(18))
        with self.lock:
            self.sessions[token] = Session(user, self.org.clock.now())
        return token

    def session(self, authorization):
        """The session of an Authorization header, or None."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() not in ("bearer", "oauth"):
            return None
        now = time.monotonic()
        with self.lock:
            session = self.sessions.get(token.strip())
            if session is None:
                return None
            if not session.user.active or \
                    now - session.used > self.org.config["session_seconds"]:
                del self.sessions[token.strip()]
                return None
            session.used = now
            return session

    def expire(self, username=None, token=None):
        with self.lock:
            dead = [key for key, session in self.sessions.items()
                    if (username is None or session.user.username == username)
                    and (token is None or key == token)]
            for key in dead:
                del self.sessions[key]
            return len(dead)

    # -- endpoints -----------------------------------------------------------------------------

    def token(self, request, listener):
        """POST /services/oauth2/token"""
        if request.method != "POST":
            raise OAuthError("invalid_request", "must use HTTP POST")
        form = read_form(request)
        grant = form.get("grant_type", "")
        handlers = {JWT_GRANT: ("jwt", self._jwt),
                    "client_credentials": ("client_credentials", self._client_credentials),
                    "refresh_token": ("refresh_token", self._refresh),
                    "password": ("password", self._password)}
        if grant not in handlers or handlers[grant][0] not in self.grants:
            raise OAuthError("unsupported_grant_type", "grant type not supported")
        user, extra = handlers[grant][1](form, listener)
        if not user.active:
            raise OAuthError("inactive_user", "user is inactive")
        request.username = user.username
        answer = self._answer(user, grant)
        answer.update(extra)
        return Response(200, answer, headers={"Cache-Control": NO_CACHE, "Pragma": "no-cache"})

    def _answer(self, user, grant):
        org = self.org
        identity = org.identity(user)
        answer = {"access_token": self.open_session(user), "instance_url": org.instance_url,
                  "id": identity, "token_type": "Bearer"}
        if grant == JWT_GRANT:
            answer["scope"] = "api refresh_token"
            return answer
        issued = str(int(org.clock.now() * 1000))
        digest = hmac.new(self.app["client_secret"].encode(), (identity + issued).encode(),
                          hashlib.sha256).digest()
        answer.update(issued_at=issued, signature=base64.b64encode(digest).decode())
        if grant != "password":
            answer["scope"] = "api refresh_token"
        return answer

    def _check_app(self, form):
        if not hmac.compare_digest(form.get("client_id", "").encode(),
                                   self.app["client_id"].encode()):
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(form.get("client_secret", "").encode(),
                                   self.app["client_secret"].encode()):
            raise OAuthError("invalid_client", "invalid client credentials")

    def _jwt(self, form, listener):
        header, claims, signed, signature = split_jwt(form.get("assertion", ""))
        if header.get("alg") != "RS256":
            raise OAuthError("invalid_grant", "invalid assertion")
        if claims.get("iss") != self.app["client_id"]:
            raise OAuthError("invalid_client_id", "client identifier invalid")
        try:
            self.public_key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise OAuthError("invalid_grant", "invalid assertion") from None
        if claims.get("aud") not in LOGIN_HOSTS + (self.org.login_url, self.org.instance_url):
            raise OAuthError("invalid_grant", "audience is invalid")
        if not self._in_time(claims.get("exp")):
            raise OAuthError("invalid_grant", "expired authorization code")
        user = self.users.get(claims.get("sub") or claims.get("prn"))
        if user is None or not user.approved:
            raise OAuthError("invalid_grant", "user hasn't approved this consumer")
        return user, {}

    def _in_time(self, expires):
        """Whether `exp` is ahead, and not by much. A test that turns the org's clock keeps its
        client's, so either will do unless the configuration says otherwise."""
        if isinstance(expires, str) and expires.isdigit():
            expires = int(expires)
        if not isinstance(expires, (int, float)) or isinstance(expires, bool):
            return False
        clocks = [self.org.clock.now()]
        if not self.org.config["jwt_org_clock"]:
            clocks.append(time.time())
        return any(now - 1 <= expires <= now + JWT_LIFE for now in clocks)

    def _client_credentials(self, form, listener):
        if listener.name == "login":
            raise OAuthError("invalid_grant", "request not supported on this domain")
        self._check_app(form)
        user = self.users.get(self.app["run_as"])
        if user is None:
            raise OAuthError("invalid_grant", "no client credentials user enabled")
        return user, {}

    def _refresh(self, form, listener):
        self._check_app(form)
        with self.lock:
            token = form.get("refresh_token", "")
            username = self.refresh_tokens.get(token)
            if username is None:
                raise OAuthError("invalid_grant", "expired access/refresh token")
            user = self.users[username]
            if not self.rotate or not user.active:
                return user, {}
            del self.refresh_tokens[token]
            fresh = self.new_refresh_token()
            self.refresh_tokens[fresh] = username
            self.save()
        return user, {"refresh_token": fresh}

    def _password(self, form, listener):
        self._check_app(form)
        user = self.users.get(form.get("username"))
        expected = user.password + user.security_token if user else secrets.token_hex(8)
        if not hmac.compare_digest(form.get("password", "").encode(), expected.encode()):
            raise OAuthError("invalid_grant", "authentication failure")
        return user, {}

    def introspect(self, request, listener):
        form = read_form(request)
        self._check_app(form)
        with self.lock:
            session = self.sessions.get(form.get("token", ""))
        if session is None:
            return Response(200, {"active": False})
        user = session.user
        return Response(200, {
            "active": True, "scope": "api refresh_token", "client_id": self.app["client_id"],
            "username": user.username, "sub": self.org.identity(user),
            "token_type": "access_token",
            "exp": int(self.org.clock.now() + self.org.config["session_seconds"]
                       - (time.monotonic() - session.used)),
            "iat": int(session.created), "nbf": int(session.created)})

    def revoke(self, request, listener):
        token = read_form(request).get("token") or request.args.get("token", "")
        with self.lock:
            known = self.sessions.pop(token, None) or self.refresh_tokens.pop(token, None)
            self.save()
        if known is None:
            raise OAuthError("unsupported_token_type", "this token type is not supported")
        return Response(200)


def read_form(request):
    """The form of an OAuth request, with the credentials of HTTP Basic put in."""
    try:
        form = dict(parse_qsl(request.body.decode("utf-8"), keep_blank_values=True))
    except UnicodeDecodeError:
        raise OAuthError("invalid_request", "not a form") from None
    scheme, _, coded = (request.headers.get("authorization") or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(coded).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise OAuthError("invalid_client", "invalid client credentials") from None
        form.setdefault("client_id", unquote_plus(name))
        form.setdefault("client_secret", unquote_plus(secret))
    return form


def split_jwt(assertion):
    """Header, claims, the signed bytes, the signature. base64url is without padding."""
    parts = assertion.split(".")
    if len(parts) != 3 or "=" in assertion:
        raise OAuthError("invalid_grant", "invalid assertion")
    try:
        raw = [base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
               for part in parts]
        header, claims = json.loads(raw[0]), json.loads(raw[1])
    except ValueError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise OAuthError("invalid_grant", "invalid assertion")
    return header, claims, (parts[0] + "." + parts[1]).encode(), raw[2]


# -- keys and certificates ---------------------------------------------------------------------

def _write_key(path, key):
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject, key, issuer=None, issuer_key=None, ca=False, addresses=()):
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder()
               .subject_name(_name(subject)).issuer_name(_name(issuer or subject))
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=3650))
               .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                              critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                   (issuer_key or key).public_key()), critical=False)
               .add_extension(x509.KeyUsage(
                   digital_signature=True, content_commitment=False, key_encipherment=not ca,
                   data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
                   encipher_only=False, decipher_only=False), critical=True))
    if addresses:
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def _write_certificates(path, *certificates):
    with open(path, "wb") as file:
        for certificate in certificates:
            file.write(certificate.public_bytes(serialization.Encoding.PEM))


def make_key_pair(key_file, certificate_file):
    """The connected app's key, and the self-signed certificate that the org trusts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(key_file, key)
    _write_certificates(certificate_file, _certificate("connected app", key))


def make_server_certificate(state):
    """A CA and a certificate for 127.0.0.1 and localhost, for --tls."""
    ca_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ca = _certificate("simulated org CA", ca_key, ca=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = _certificate("127.0.0.1", key, "simulated org CA", ca_key, addresses=addresses)
    paths = [os.path.join(state, name) for name in ("ca.pem", "server.key", "server.crt")]
    _write_certificates(paths[0], ca)
    _write_key(paths[1], key)
    _write_certificates(paths[2], certificate)
    return paths
