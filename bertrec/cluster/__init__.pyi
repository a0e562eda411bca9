from .encode import encode_parts as encode_parts
from .recommend import recommend_parts as recommend_parts
from .run import Outcome as Outcome
