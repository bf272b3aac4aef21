"""How a test can end other than by passing or failing."""

import pytest


class NotAvailable(pytest.skip.Exception):
    """The thing does not exist in this release or mode; says why. Nothing could be installed to have it."""
