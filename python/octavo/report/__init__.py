# SPDX-License-Identifier: Apache-2.0
"""A page of what `octavo report` measured: python -m octavo.report REPORT.json OUT.html"""

from octavo.report._page import page

__all__ = ["page"]
