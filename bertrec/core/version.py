"""The version of bertrec, for whatever writes it into a file."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bertrec")
except PackageNotFoundError:  # a folder on the path that nobody installed
    __version__ = "0+unknown"
