"""What a storage is called: a path or a URL, read once, and shown without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from bertrec.core.errors import BertrecError, ConfigError, unknown_name

_KINDS = {"sqlite": "sqlite", "postgresql": "postgresql", "postgresql+psycopg": "postgresql", "redis": "redis", "rediss": "redis"}
_FORMS = "a path, sqlite:///PATH, postgresql+psycopg://USER:PASSWORD@HOST/DATABASE or redis://HOST:PORT/NUMBER"
_SECRET_OPTION = re.compile(r"((?:^|[?&])\w*(?:password|passwd|passphrase)=)([^&]*)", re.IGNORECASE)
_HIDDEN = "***"
_REASON_WORDS = 300


@dataclass(frozen=True)
class Address:
    """Where a storage is.

    Attributes:
        kind: ``journal``, ``sqlite``, ``postgresql`` or ``redis``.
        url: what opens it from any folder: an absolute path, or a URL with its password. Never to be printed.
        shown: the same without the password.
        path: the file of a journal or an SQLite database.
        secrets: texts that no message may hold.
    """

    kind: str
    url: str
    shown: str
    path: Path | None = None
    secrets: tuple[str, ...] = ()

    def problem(self, reason: object, mend: str) -> BertrecError:
        """Return the error that says why this storage cannot be opened, on one line and without a password."""
        # Before white space is joined, as a password may hold some, and after it.
        text = self._without_secrets(" ".join(self._without_secrets(str(reason)).split()))
        return BertrecError(f"cannot open the storage {self.shown}: {text[:_REASON_WORDS].rstrip('.')}; {mend}")

    def _without_secrets(self, text: str) -> str:
        for secret in sorted({form for known in self.secrets for form in (known, " ".join(known.split())) if form}, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text


def parse_address(where: str | Path) -> Address:
    """Read a path or URL.

    Raises:
        ConfigError: it is empty, of an unknown kind, or a URL that cannot be taken apart for certain.
    """
    text = str(where).strip()
    if not text:
        raise ConfigError(f"no storage is named: give {_FORMS}")
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme = text.partition(":")[0].lower()
        if ":" in text and scheme in _KINDS:
            raise ConfigError(
                f"a storage that begins with {scheme}: is a URL and needs two slashes, {scheme}://; give it as text, not as a Path"
            )
        return _file_address("journal", text, "")
    scheme = scheme.lower()
    if scheme not in _KINDS:
        raise ConfigError(f"{unknown_name('kind of storage', scheme, _KINDS)}; give {_FORMS}")
    if _KINDS[scheme] == "sqlite":
        return _sqlite_address(rest)
    return _server_address(scheme, rest)


def _file_address(kind: str, text: str, prefix: str, options: str = "") -> Address:
    path = Path(text).absolute()
    url = f"{prefix}{path}{options}"
    return Address(kind, url, url, path)


def _sqlite_address(rest: str) -> Address:
    name, mark, options = rest.removeprefix("/").partition("?")
    if not rest.startswith("/"):
        raise ConfigError(f"sqlite://{rest} needs three slashes before a path, sqlite:///study.db, and four before one from the root")
    if not name or name == ":memory:" or name.startswith("file:"):
        raise ConfigError("an SQLite database in memory ends with its process and no other worker sees it: name a file, sqlite:///study.db")
    return _file_address("sqlite", name, "sqlite:///", mark + options)


def _server_address(scheme: str, rest: str) -> Address:
    """Take a server's URL apart at its last @, so that no piece of an odd password can pass for a host or port and be printed."""
    user, at, place = rest.rpartition("@")
    shown_place = _SECRET_OPTION.sub(rf"\1{_HIDDEN}", place)
    if re.search(r"[@/?#\s\[\]]", user):
        raise ConfigError(
            f"{scheme}://{_HIDDEN}@{shown_place}: an @ / ? # [ ] or space in a name, password or option"
            " must be percent-encoded (@ is %40, / is %2F, ? is %3F, # is %23)"
        )
    name, colon, password = user.partition(":")
    raw = [password, *(found[1] for found in _SECRET_OPTION.findall(place))]
    secrets = tuple(sorted({form for text in raw for form in (text, unquote(text)) if form}))
    shown = f"{scheme}://{name}{colon and ':' + _HIDDEN}{at}{shown_place}"
    # SQLAlchemy's default driver has changed from release to release; optuna-dashboard gets the same name from `shown`.
    full = "postgresql+psycopg" if scheme == "postgresql" else scheme
    return Address(_KINDS[scheme], f"{full}://{rest}", full + shown.removeprefix(scheme), secrets=secrets)
