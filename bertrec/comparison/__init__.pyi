from .plan import Plan as Plan
from .plan import make_plan as make_plan
from .report import write_report as write_report
from .run import compare as compare
