# In this order: the case about secrets looks at what all the others left behind.
from cases import rules, panels, cost, page, secrets  # noqa: F401
