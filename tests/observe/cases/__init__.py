# In this order: the case about secrets looks at what all the others left behind.
from tests.observe.cases import rules, panels, cost, page, secrets  # noqa: F401
