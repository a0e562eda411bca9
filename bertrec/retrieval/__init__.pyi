from .exact import top_k as top_k
from .index import ItemIndex as ItemIndex
from .parameters import IndexConfig as IndexConfig
from .recall import recall_at_k as recall_at_k
from .result import SearchResult as SearchResult
from .rules import Rules as Rules
from .scan import search_vectors as search_vectors
