"""Evaluation of enhanced files: find, score, summarise, report.

The stages stand in files of their own, in that order: `clips`, `scoring`,
`summary` and `report`; `dns2020` knows one public test set.

May import metrics and dataio, and what these may import in turn.
"""
