from .config import Config as Config
from .errors import (
    BertrecError as BertrecError,
)
from .errors import (
    ConfigError as ConfigError,
)
from .errors import (
    DataError as DataError,
)
from .errors import (
    IndexFileError as IndexFileError,
)
from .errors import (
    MissingExtraError as MissingExtraError,
)
from .errors import (
    ModelError as ModelError,
)
from .errors import (
    NotFiniteError as NotFiniteError,
)
from .plugins import Registry as Registry
from .ragged import Ragged as Ragged
