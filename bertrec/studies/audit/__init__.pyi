from .run import AuditConfig as AuditConfig
from .run import audit as audit
